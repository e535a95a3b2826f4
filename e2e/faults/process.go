package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// process finds a process of this run's steps by its program and what its command line has besides; 0 where there is
// none.
func (c *cell) process(program string, has ...string) (int, error) {
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, file := range found {
		line, err := os.ReadFile(file)
		if err != nil || !matches(line, program, has) {
			continue // it may have ended by now
		}
		dir := filepath.Dir(file)
		environment, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !variable(environment, "RUN_NAMESPACE="+c.app.Namespace) ||
			!variable(environment, "RUN_NAME="+c.run.Name) {
			continue
		}
		return strconv.Atoi(filepath.Base(dir))
	}
	return 0, nil
}

func matches(line []byte, program string, has []string) bool {
	arguments := strings.Split(string(line), "\x00")
	if arguments[0] != program {
		return false
	}
	for _, want := range has {
		if !strings.Contains(string(line), "\x00"+want+"\x00") {
			return false
		}
	}
	return true
}

// variable says whether an environment, as /proc has it, sets a variable so.
func variable(environment []byte, set string) bool {
	return bytes.Contains(append([]byte{0}, environment...), []byte("\x00"+set+"\x00"))
}

// stop keeps a process from going on until resume.
func (c *cell) stop(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stopping process %d: %w", pid, err)
	}
	c.stopped = pid
	return nil
}

// resume lets a process that was stopped go on. It may have been killed by now.
func (c *cell) resume() error {
	if c.stopped == 0 {
		return nil
	}
	err := syscall.Kill(c.stopped, syscall.SIGCONT)
	c.stopped = 0
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// kill ends the program that runs at the moment, without a signal that it could notice.
func (c *cell) kill() error {
	pid, err := c.process("/ko-app/" + c.moment.step())
	if err == nil && pid == 0 {
		err = fmt.Errorf("killing %s of %s: no such process", c.moment.step(), c.app.Namespace)
	}
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}
