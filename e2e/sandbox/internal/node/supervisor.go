package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	restartAfter = 500 * time.Millisecond // an ended component is started again
	stopLimit    = 10 * time.Second       // from SIGTERM to SIGKILL
)

// supervise is the node's first process: it sets the node up, keeps its components running and buries the dead.
func supervise(dir string) error {
	cfg, err := Read(dir)
	if err != nil {
		return err
	}
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	if err := setUp(cfg); err != nil {
		return err
	}
	s := &supervisor{cfg: cfg, byName: map[string]*process{}, byPID: map[int]*process{}}
	for _, c := range cfg.Components {
		p := &process{Component: c}
		s.all = append(s.all, p)
		s.byName[c.Name] = p
		if c.Boot {
			if err := s.start(c.Name); err != nil {
				return err
			}
		}
	}
	control, err := net.Listen("unix", filepath.Join(dir, controlFile))
	if err != nil {
		return err
	}
	go func() { log.Fatal(http.Serve(control, s.handler())) }()
	for range died {
		s.reap()
	}
	return nil
}

// process is a component and its present incarnation.
type process struct {
	Component
	wanted   bool
	pid      int // 0: not running
	ended    chan struct{}
	restarts int
}

// supervisor knows children by number alone: os/exec would compete with reap for their ends.
type supervisor struct {
	cfg    Config
	mu     sync.Mutex
	all    []*process
	byName map[string]*process
	byPID  map[int]*process
}

// reap collects every process that has ended: components, and orphans of pods.
func (s *supervisor) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
		p := s.byPID[pid]
		if p == nil {
			continue
		}
		delete(s.byPID, pid)
		p.pid = 0
		close(p.ended)
		if p.wanted {
			log.Printf("%s ended (exit code %d, signal %d); starting it again", p.Name, status.ExitStatus(),
				status.Signal())
			p.restarts++
			time.AfterFunc(restartAfter, func() { s.revive(p) })
		}
	}
}

func (s *supervisor) revive(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.wanted || p.pid != 0 {
		return
	}
	if err := s.fork(p); err != nil {
		log.Print(err)
		time.AfterFunc(restartAfter, func() { s.revive(p) })
	}
}

func (s *supervisor) start(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.byName[name]
	if !ok {
		return fmt.Errorf("starting %s: the node has no such component", name)
	}
	p.wanted = true
	if p.pid != 0 {
		return nil
	}
	return s.fork(p)
}

// fork starts the process. The caller holds the lock, so that its end is not collected before it is known.
func (s *supervisor) fork(p *process) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	out, err := os.OpenFile(s.cfg.Log(p.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	pid, err := syscall.ForkExec(p.Command[0], p.Command, &syscall.ProcAttr{
		Dir:   "/",
		Env:   environment(s.cfg, p.Env),
		Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("starting %s (%s): %w", p.Name, p.Command[0], err)
	}
	if err := prefer(pid, p.Nice); err != nil {
		log.Printf("%s has no priority: %v", p.Name, err)
	}
	p.pid, p.ended = pid, make(chan struct{})
	s.byPID[pid] = p
	return nil
}

// prefer gives a session of processes a priority among others. Where the kernel has a group for each session, that of
// the processes counts only within it.
func prefer(session, nice int) error {
	if nice == 0 {
		return nil
	}
	err := os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", session), []byte(strconv.Itoa(nice)), 0o644)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syscall.Setpriority(syscall.PRIO_PGRP, session, nice)
}

// stop ends a component for good: politely first.
func (s *supervisor) stop(name string) error {
	s.mu.Lock()
	p, ok := s.byName[name]
	if !ok {
		s.mu.Unlock()
		return fmt.Errorf("stopping %s: the node has no such component", name)
	}
	p.wanted = false
	pid, ended := p.pid, p.ended
	if pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	s.mu.Unlock()
	if pid == 0 {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-time.After(stopLimit):
	}
	return s.signal(name, syscall.SIGKILL)
}

// signal sends a signal and, where it is SIGKILL, waits for the end.
func (s *supervisor) signal(name string, sig syscall.Signal) error {
	s.mu.Lock()
	p, ok := s.byName[name]
	if !ok || p.pid == 0 {
		s.mu.Unlock()
		return fmt.Errorf("sending %s signal %d: it is not running", name, sig)
	}
	ended := p.ended
	err := syscall.Kill(p.pid, sig)
	s.mu.Unlock()
	if err == nil && sig == syscall.SIGKILL {
		<-ended
	}
	return err
}

func (s *supervisor) statuses() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Status, 0, len(s.all))
	for _, p := range s.all {
		st := Status{Name: p.Name, State: "stopped", PID: p.pid, Restarts: p.restarts}
		switch {
		case p.pid != 0:
			st.State = "running"
		case p.wanted:
			st.State = "failed"
		}
		out = append(out, st)
	}
	return out
}
