// Command peak runs a program and writes its peak memory in KiB to the file named first.
//
// A process begins with the peak of the one that starts it, so that a small one has to.
package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

func main() {
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		panic(err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if err := os.WriteFile(os.Args[1], []byte(strconv.FormatInt(usage.Maxrss, 10)), 0o644); err != nil {
		panic(err)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}
