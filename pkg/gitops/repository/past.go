package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// ErrNoCommit means that a clone has no commits so far back.
var ErrNoCommit = errors.New("no such commit")

// Time is when the head was committed.
func (c *Clone) Time() (time.Time, error) {
	commit, err := c.git.CommitObject(c.head)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading commit %s of %s: %w", c.head, c.remote.URL, err)
	}
	return commit.Committer.When, nil
}

// Past are the files of the branch n commits before its head, along first parents, until other ones are asked for. It
// is ErrNoCommit where the clone does not reach back so far.
func (c *Clone) Past(n int) (fs.FS, error) {
	commit, err := c.git.CommitObject(c.head)
	for ; n > 0 && err == nil; n-- {
		commit, err = commit.Parent(0)
	}
	if errors.Is(err, object.ErrParentNotFound) || errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, ErrNoCommit
	}
	if err != nil {
		return nil, fmt.Errorf("reading the past of %s: %w", c.remote.URL, err)
	}
	tree, err := c.git.Worktree()
	if err == nil {
		err = tree.Reset(&git.ResetOptions{Commit: commit.Hash, Mode: git.HardReset})
	}
	if err != nil {
		return nil, fmt.Errorf("checking out commit %s of %s: %w", commit.Hash, c.remote.URL, err)
	}
	return c.Files(), nil
}
