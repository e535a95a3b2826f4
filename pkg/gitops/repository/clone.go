package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// ErrMoved means that a branch is no longer where it was when it was read.
var ErrMoved = errors.New("the branch has moved")

// remoteName is how the clone calls where it comes from.
const remoteName = "origin"

// Clone is a working copy of a branch.
type Clone struct {
	remote *Remote
	at     string // directory
	git    *git.Repository
	head   plumbing.Hash
}

// Clone reads a branch of the repository, with its last commits, into a directory that must be empty. Where depth is 1
// it fetches no past at all, so that large repositories take as long as their files.
func (r *Remote) Clone(ctx context.Context, directory string, depth int) (*Clone, error) {
	c := &Clone{remote: r, at: directory}
	branch := plumbing.NewBranchReferenceName(r.Branch)
	err := persist(ctx, func(ctx context.Context) (err error) {
		if err := empty(directory); err != nil { // of what an earlier try has left
			return err
		}
		c.git, err = git.PlainCloneContext(ctx, directory, false, &git.CloneOptions{
			URL: r.URL, Auth: r.auth(), RemoteName: remoteName, ReferenceName: branch, SingleBranch: true,
			Depth: depth, Tags: git.NoTags,
		})
		return err
	})
	var none git.NoMatchingRefSpecError
	if errors.Is(err, plumbing.ErrReferenceNotFound) || errors.As(err, &none) {
		return nil, failure.Configf("cloning %s: it has no branch %s", r.URL, r.Branch)
	}
	if err != nil {
		return nil, r.explained("cloning", err)
	}
	head, err := c.git.Head()
	if err != nil {
		return nil, fmt.Errorf("reading the head of %s: %w", r.URL, err)
	}
	c.head = head.Hash()
	return c, nil
}

func empty(directory string) error {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return failure.Configf("cloning into %s: %w", directory, err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(directory, e.Name())); err != nil {
			return fmt.Errorf("cloning into %s: %w", directory, err)
		}
	}
	return nil
}

// Files are those of the branch.
func (c *Clone) Files() fs.FS { return os.DirFS(c.at) }

// Head is the SHA of the branch's commit that was read.
func (c *Clone) Head() string { return c.head.String() }

// Author is who commits.
type Author struct{ Name, Email string }

// Commit writes files, by their paths, on top of the branch, and is the SHA of the commit. The branch itself stays.
func (c *Clone) Commit(files map[string][]byte, message string, by Author, at time.Time) (string, error) {
	tree, err := c.git.Worktree()
	if err != nil {
		return "", fmt.Errorf("committing to %s: %w", c.remote.URL, err)
	}
	if err := tree.Reset(&git.ResetOptions{Commit: c.head, Mode: git.HardReset}); err != nil {
		return "", fmt.Errorf("committing to %s: %w", c.remote.URL, err)
	}
	for path, content := range files {
		if !fs.ValidPath(path) || strings.HasPrefix(path, ".git/") {
			return "", failure.Configf("committing to %s: path %q, want one inside of the repository", c.remote.URL, path)
		}
		mode := fs.FileMode(0o644)
		full := filepath.Join(c.at, filepath.FromSlash(path))
		if info, err := os.Lstat(full); err == nil {
			mode = info.Mode().Perm()
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return "", fmt.Errorf("committing %s: %w", path, err)
		}
		if err := os.WriteFile(full, content, mode); err != nil {
			return "", fmt.Errorf("committing %s: %w", path, err)
		}
		if _, err := tree.Add(path); err != nil {
			return "", fmt.Errorf("committing %s: %w", path, err)
		}
	}
	hash, err := tree.Commit(message, &git.CommitOptions{
		Author: &object.Signature{Name: by.Name, Email: by.Email, When: at},
	})
	if err != nil {
		return "", fmt.Errorf("committing to %s: %w", c.remote.URL, err)
	}
	return hash.String(), nil
}

// Push makes a branch lead to a commit, if it still leads where it was expected: at a SHA, or nowhere if that is empty.
// Else it is ErrMoved. What leads there already is left.
func (c *Clone) Push(ctx context.Context, sha, branch, expected string) error {
	to := plumbing.NewBranchReferenceName(branch).String()
	var required []config.RefSpec
	if expected != "" {
		required = append(required, config.RefSpec(expected+":"+to))
	} else if now, err := c.remote.Branches(ctx); err != nil {
		return err
	} else if now[branch] != "" && now[branch] != sha {
		return fmt.Errorf("pushing branch %s of %s: it is there already: %w", branch, c.remote.URL, ErrMoved)
	}
	err := persist(ctx, func(ctx context.Context) error {
		err := c.git.PushContext(ctx, &git.PushOptions{
			RemoteName: remoteName, Auth: c.remote.auth(), RequireRemoteRefs: required,
			RefSpecs: []config.RefSpec{config.RefSpec("+" + sha + ":" + to)},
		})
		if err == nil || !away(err) {
			return err
		}
		// it may have arrived, though the answer did not
		if now, asked := c.remote.Branches(ctx); asked == nil && now[branch] == sha {
			return nil
		}
		return err
	})
	switch {
	case err == nil, errors.Is(err, git.NoErrAlreadyUpToDate):
		return nil
	case strings.Contains(err.Error(), "required to be"), strings.Contains(err.Error(), "cannot lock ref"),
		strings.Contains(err.Error(), "failed to update ref"):
		return fmt.Errorf("pushing branch %s of %s: %w", branch, c.remote.URL, ErrMoved)
	case strings.Contains(err.Error(), "pre-receive hook declined"), strings.Contains(err.Error(), "protected"):
		return failure.Configf("pushing branch %s of %s: %w: the branch is protected, want a rule that lets the token "+
			"push it", branch, c.remote.URL, err)
	}
	return c.remote.explained("pushing branch "+branch+" of", err)
}

// Branches are the SHAs that the repository's branches lead to, by their names.
func (r *Remote) Branches(ctx context.Context) (map[string]string, error) {
	origin := git.NewRemote(nil, &config.RemoteConfig{Name: remoteName, URLs: []string{r.URL}})
	var refs []*plumbing.Reference
	err := persist(ctx, func(ctx context.Context) (err error) {
		refs, err = origin.ListContext(ctx, &git.ListOptions{Auth: r.auth()})
		return err
	})
	if err != nil {
		return nil, r.explained("listing the branches of", err)
	}
	all := map[string]string{}
	for _, ref := range refs {
		if ref.Name().IsBranch() {
			all[ref.Name().Short()] = ref.Hash().String()
		}
	}
	return all, nil
}
