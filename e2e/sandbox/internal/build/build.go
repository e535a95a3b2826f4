// Package build makes the sandbox's programs from their modules into a cache that is keyed by content.
package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// Artifact is something that is built once for one content.
type Artifact interface {
	// Name is what people call it.
	Name() string
	// key is a digest of all that decides the outcome.
	key(ctx context.Context) (string, error)
	// make writes the files into dir. It compiles when it is its turn.
	make(ctx context.Context, dir string, turn *Turn, p *progress.Reporter) error
}

// Find returns the folder that holds the artifact's files, or is to hold them, and whether it does.
func Find(ctx context.Context, a Artifact) (dir string, built bool, err error) {
	cache, err := CacheDir()
	if err != nil {
		return "", false, err
	}
	key, err := a.key(ctx)
	if err != nil {
		return "", false, fmt.Errorf("finding out whether %s must be built: %w", a.Name(), err)
	}
	dir = filepath.Join(cache, "build", a.Name()+"-"+key[:16])
	_, err = os.Stat(dir)
	return dir, err == nil, nil
}

// Ensure returns the folder that holds the artifact's files, and builds them when they are missing.
func Ensure(ctx context.Context, a Artifact, turn *Turn, p *progress.Reporter) (string, error) {
	defer turn.pass()
	dir, built, err := Find(ctx, a)
	if err != nil || built {
		return dir, err
	}
	unlock, err := lock(filepath.Join(filepath.Dir(dir), a.Name()+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil { // somebody else built it meanwhile
		return dir, nil
	}
	abandoned, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".partial-"+a.Name()+"-*"))
	for _, left := range abandoned { // by a build that was killed: this one holds the lock
		os.RemoveAll(left)
	}
	partial, err := os.MkdirTemp(filepath.Dir(dir), ".partial-"+a.Name()+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(partial)
	if err := a.make(ctx, partial, turn, p); err != nil {
		return "", fmt.Errorf("building %s: %w", a.Name(), err)
	}
	if err := os.Chmod(partial, 0o755); err != nil {
		return "", err
	}
	return dir, os.Rename(partial, dir)
}

// CacheDir is where everything that was built is kept, across sandboxes.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w; set HOME or XDG_CACHE_HOME", err)
	}
	return filepath.Join(base, "serin"), nil
}

// lock waits for an exclusive lock on the file, which is made if need be.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// sourceDir is the folder of the e2e module's sources, in the checkout that the working directory is in; go is asked
// once.
var sourceDir = sync.OnceValues(func() (string, error) {
	dir, err := goOutput(context.Background(), ".", "list", "-m", "-f={{.Dir}}", "github.com/serin-cd/serin/e2e")
	if err != nil {
		return "", fmt.Errorf("finding the sources of the sandbox: %w; run it in folder e2e of a checkout", err)
	}
	return dir, nil
})

// digest hashes words, then names and contents of the files below dir that keep selects.
func digest(dir string, keep func(path string) bool, words ...string) (string, error) {
	h := sha256.New()
	for _, w := range words {
		fmt.Fprintf(h, "%q\n", w)
	}
	if dir == "" {
		return hex.EncodeToString(h.Sum(nil)), nil
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && keep(path) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	sort.Strings(files)
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q %d\n", strings.TrimPrefix(path, dir), len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
