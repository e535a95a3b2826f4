package repository

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"testing/fstest"
	"time"

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

// largest is how large a file may be that is read of the past, in bytes.
const largest = 1 << 20

// Past are the files of the branch n commits before its head, along first parents; those larger than 1 MiB are left
// out. It is ErrNoCommit where the clone does not reach back so far.
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
	tree, err := commit.Tree()
	if err != nil {
		return nil, fmt.Errorf("reading commit %s of %s: %w", commit.Hash, c.remote.URL, err)
	}
	files := fstest.MapFS{}
	err = tree.Files().ForEach(func(f *object.File) error {
		if f.Size > largest {
			return nil
		}
		from, err := f.Reader()
		if err != nil {
			return err
		}
		defer from.Close()
		text, err := io.ReadAll(from)
		files[path.Clean(f.Name)] = &fstest.MapFile{Data: text, Mode: 0o644, ModTime: commit.Committer.When}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading commit %s of %s: %w", commit.Hash, c.remote.URL, err)
	}
	return files, nil
}
