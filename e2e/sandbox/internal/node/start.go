package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Handle is a node as its owner holds it.
type Handle struct {
	PID   int // of the supervisor, as the host sees it
	owner *os.File
}

// Start makes the node of the configuration, whose folder must exist. It lives until Stop, or until this process ends.
func Start(cfg Config) (*Handle, error) {
	if err := cfg.write(); err != nil {
		return nil, err
	}
	lock, err := tryLock(cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	theirs, mine, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	answer, say, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	log, err := os.OpenFile(cfg.Log("keeper"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	keeper := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{keeperName, cfg.Dir},
		Dir:         "/",
		Env:         environment(cfg, nil),
		Stdout:      log,
		Stderr:      log,
		ExtraFiles:  []*os.File{lockFD - 3: lock, ownerFD - 3: theirs, reportFD - 3: say},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // an interrupt at the terminal is the owner's to handle
	}
	err = keeper.Start()
	say.Close()
	if err != nil {
		mine.Close()
		return nil, fmt.Errorf("starting the node's keeper: %w", err)
	}
	go func() { _ = keeper.Wait() }()
	if err := os.WriteFile(filepath.Join(cfg.Dir, "keeper"), []byte(strconv.Itoa(keeper.Process.Pid)),
		0o600); err != nil {
		mine.Close()
		return nil, err
	}
	var r report
	if err := json.NewDecoder(answer).Decode(&r); err != nil {
		mine.Close()
		return nil, fmt.Errorf("waiting for the node's keeper: %w", err)
	}
	if r.Err != "" {
		mine.Close()
		return nil, errors.New(r.Err)
	}
	return &Handle{PID: r.PID, owner: mine}, nil
}

// Detach leaves the node running when this process ends.
func (h *Handle) Detach() error {
	defer h.owner.Close()
	_, err := h.owner.Write([]byte{detached})
	return err
}

// tryLock locks the node's folder for the keeper, which inherits the lock and holds it until it ends.
func tryLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return f, nil
}

// Running tells whether the node in dir has a keeper.
func Running(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err != nil {
		return false
	}
	f, err := tryLock(dir)
	if err != nil {
		return errors.Is(err, unix.EWOULDBLOCK)
	}
	f.Close()
	return false
}

// PID is that of the supervisor of the node in dir, as the host sees it.
func PID(dir string) (int, error) { return readPID(filepath.Join(dir, "pid")) }

func readPID(file string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// Stop ends the node in dir and removes all that it was made of. It is no error when there is none.
func Stop(ctx context.Context, dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if err == nil {
		defer f.Close()
		err = stopKeeper(ctx, dir, f)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	cfg, err := Read(dir)
	if err != nil { // the keeper has removed it, or it was never made
		return os.RemoveAll(dir)
	}
	return Remove(cfg)
}

// stopKeeper asks the keeper to end, and returns when it has: its lock is free then. One that does not end is killed.
func stopKeeper(ctx context.Context, dir string, lock *os.File) error {
	const patience = 30 * time.Second
	deadline := time.Now().Add(patience)
	asked, killed := false, false
	for unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		pid, err := readPID(filepath.Join(dir, "keeper"))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil: // it is removing its folder
		case !asked:
			asked = true
			_ = syscall.Kill(pid, syscall.SIGTERM)
		case time.Now().After(deadline) && !killed:
			killed = true
			_ = syscall.Kill(pid, syscall.SIGKILL)
		case time.Now().After(deadline.Add(patience)):
			return fmt.Errorf("stopping the node in %s: process %d does not end", dir, pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}
