// Package preflight makes sure, before anything is built, that this machine can run a sandbox.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/serin-cd/serin/e2e/sandbox/internal/build"
	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// need is a Debian package, known by a file that it brings.
type need struct{ pkg, file string }

var needs = []need{
	{"containerd", "/usr/bin/containerd"},
	{"runc", "/usr/sbin/runc"},
	{"containernetworking-plugins", "/usr/lib/cni/bridge"},
	{"conntrack", "/usr/sbin/conntrack"},
	{"iptables", "/usr/sbin/iptables"},
	{"nftables", "/usr/sbin/nft"},
	{"util-linux", "/usr/bin/nsenter"},
	{"libc-bin", "/usr/bin/getent"},
	{"prometheus", "/usr/bin/prometheus"},
	{"ca-certificates", "/etc/ssl/certs/ca-certificates.crt"},
}

// Namespaces are those that a node lives in.
const Namespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID |
	syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// Check installs the packages that are missing. What it cannot mend it returns as one error that lists all of it.
func Check(ctx context.Context, p *progress.Reporter) error {
	problems := machine()
	if len(problems) == 0 {
		if err := install(ctx, missing(ctx), p); err != nil {
			problems = append(problems, err.Error())
		} else {
			problems = kernel(ctx)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("this machine cannot run the sandbox:\n  - %s\nuse a cluster that you have instead: "+
		"KUBECONTEXT=name", strings.Join(problems, "\n  - "))
}

// machine finds what no package can mend.
func machine() []string {
	var problems []string
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		problems = append(problems, fmt.Sprintf("it is %s/%s: linux/amd64 is needed, in a virtual machine if need be",
			runtime.GOOS, runtime.GOARCH))
	}
	if os.Geteuid() != 0 {
		problems = append(problems, "this program is not root: run it with sudo -E, or as root")
	}
	if _, err := exec.LookPath("go"); err != nil {
		problems = append(problems, "there is no go on PATH: install Go 1.26 or later")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		problems = append(problems, "there is no apt-get: Debian 12 or later, or Ubuntu 24.04 or later, is needed")
	}
	return problems
}

func missing(ctx context.Context) []string {
	var pkgs []string
	for _, n := range needs {
		if _, err := os.Stat(n.file); err != nil {
			pkgs = append(pkgs, n.pkg)
		}
	}
	for _, pip := range build.PipCommands {
		if exec.CommandContext(ctx, pip[0], append(pip[1:], "--version")...).Run() == nil {
			return pkgs
		}
	}
	return append(pkgs, "python3-pip")
}

func install(ctx context.Context, pkgs []string, p *progress.Reporter) error {
	if len(pkgs) == 0 {
		return nil
	}
	task := p.Start("apt", "installing %s", strings.Join(pkgs, " "))
	allow, err := forbidDaemons()
	if err != nil {
		return err
	}
	defer allow()
	var failures []error
	apt := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, lastLines(out))
		}
		return err
	}
	args := append([]string{"install", "--yes", "--no-install-recommends"}, pkgs...)
	for _, args := range [][]string{args, {"update"}, args} { // lists may be fresh enough, and updating them is slow
		err := apt(args...)
		if err == nil && args[0] == "install" {
			task.Done("installed %s", strings.Join(pkgs, " "))
			return nil
		}
		if err != nil {
			failures = append(failures, err)
		}
	}
	return fmt.Errorf("installing %s: %w", strings.Join(pkgs, " "), errors.Join(failures...))
}

// forbidDaemons keeps packages from starting their services: the sandbox runs its own, and the machine wants none.
func forbidDaemons() (allow func(), err error) {
	const policy = "/usr/sbin/policy-rc.d"
	f, err := os.OpenFile(policy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, os.ErrExist) { // the machine has a policy
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.WriteString("#!/bin/sh\nexit 101\n"); err != nil {
		os.Remove(policy)
		return nil, err
	}
	return func() { os.Remove(policy) }, nil
}

// kernel tries what the node will ask of the kernel.
func kernel(ctx context.Context) []string {
	for module, sign := range map[string]string{"overlay": "/sys/module/overlay",
		"br_netfilter": "/proc/sys/net/bridge", "nf_tables": "/sys/module/nf_tables"} {
		if _, err := os.Stat(sign); err != nil {
			_ = exec.CommandContext(ctx, "modprobe", module).Run() // it may be built in: what counts is tried below
		}
	}
	var problems []string
	if b, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(b), "\toverlay\n") {
		problems = append(problems, "the kernel has no overlay file system: load the module overlay")
	}
	if _, err := os.Stat("/proc/sys/net/bridge"); err != nil {
		problems = append(problems,
			"the kernel does not show bridged packets to netfilter: load the module br_netfilter")
	}
	if err := inNamespaces(ctx, "/bin/true"); err != nil {
		problems = append(problems,
			fmt.Sprintf("new namespaces are refused (%v): run on a machine or in a privileged container", err))
	} else if err := inNamespaces(ctx, "/usr/sbin/nft", "add", "table", "ip", "probe"); err != nil {
		problems = append(problems,
			fmt.Sprintf("nftables does not work in a new network namespace (%v): load the module nf_tables", err))
	}
	if found, _ := filepath.Glob("/sys/fs/cgroup/*"); len(found) == 0 {
		problems = append(problems, "no cgroups are mounted at /sys/fs/cgroup")
	}
	return problems
}

func inNamespaces(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: Namespaces}
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) > 0 {
		err = fmt.Errorf("%w: %s", err, lastLines(out))
	}
	return err
}

func lastLines(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}
