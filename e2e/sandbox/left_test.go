package sandbox_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/e2e/sandbox"
	"github.com/serin-cd/serin/e2e/sandbox/internal/node"
)

// snapshot is all of the machine that a sandbox might touch, one line each. What belongs to other sandboxes, or to
// programs that run for other reasons, is left out: people work, and other packages are tested, meanwhile.
func snapshot(t *testing.T) []string {
	t.Helper()
	others := ofOthers(t)
	var all []string
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		all = append(all, "link "+l.Name)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		all = append(all, "mount "+strings.TrimSpace(line))
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup/*/*", "/var/lib/*", "/var/log/*", "/run/*",
		"/run/netns/*", "/etc/cni/*",
		"/opt/*", "/usr/libexec/*", "/etc/kubernetes/*", "/tmp/serin*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			all = append(all, "path "+path)
		}
	}
	for _, name := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/hostname",
		"net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max"} {
		if b, err := os.ReadFile("/proc/sys/" + name); err == nil {
			all = append(all, "setting "+name+" "+strings.TrimSpace(string(b)))
		}
	}
	for _, command := range [][]string{{"nft", "list", "tables"}, {"iptables-save"}} {
		out, err := exec.Command(command[0], command[1:]...).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "#") {
				all = append(all, command[0]+" "+strings.TrimSpace(line))
			}
		}
	}
	others = append(others, ofOthers(t)...) // those that came meanwhile; the first may have gone
	all = slices.DeleteFunc(all, func(line string) bool {
		return slices.ContainsFunc(others, func(other string) bool { return strings.HasPrefix(line+"/", other) })
	})
	slices.Sort(all)
	return all
}

// ofOthers are the beginnings of lines about what belongs to other sandboxes and other packages' tests.
func ofOthers(t *testing.T) []string {
	t.Helper()
	all := []string{"path /tmp/serin-apitest-", "path /tmp/serin-dist-", "path /tmp/serin-scale-"}
	names, err := sandbox.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if n == "go-test" || n == "go-test-2" || n == "go-test-killed" {
			continue
		}
		cfg, err := node.Read(folder(t, n))
		if err != nil {
			continue // it is not made yet, or gone
		}
		all = append(all, "link "+cfg.Veth+"/", "path /sys/fs/cgroup"+cfg.Cgroup+"/")
		hierarchies, err := filepath.Glob("/sys/fs/cgroup/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hierarchies {
			all = append(all, "path "+h+cfg.Cgroup+"/")
		}
	}
	return all
}

// folder is that of a sandbox.
func folder(t *testing.T, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(cache, "serin", "sandbox", name)
}

func compare(t *testing.T, before []string) {
	t.Helper()
	if diff := cmp.Diff(before, snapshot(t)); diff != "" {
		t.Errorf("the machine is not as it was (-before +after):\n%s", diff)
	}
	for _, name := range []string{"go-test", "go-test-2"} {
		if left := processes(t, name); len(left) > 0 {
			t.Errorf("processes of %s are left: %v", name, left)
		}
	}
}

// processes are those whose command line names the sandbox's folder, or who are in its cgroups.
func processes(t *testing.T, name string) []string {
	t.Helper()
	folder := folder(t, name)
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range found {
		line, _ := os.ReadFile(filepath.Join(p, "cmdline")) // it may have ended by now
		groups, _ := os.ReadFile(filepath.Join(p, "cgroup"))
		if strings.Contains(string(line)+"\x00", folder+"\x00") || strings.Contains(string(line), folder+"/") ||
			strings.Contains(string(groups), "/serin-"+name+"/") {
			all = append(all, filepath.Base(p)+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return all
}

// TestHarness is not a test but the program that TestKilled kills.
func TestHarness(t *testing.T) {
	name := os.Getenv("SANDBOX_OF_HARNESS")
	if name == "" {
		t.Skip("run by TestKilled")
	}
	s, err := sandbox.Up(t.Context(), sandbox.Options{Name: name, Bare: true})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("up %s\n", s.NodeIP)
	select {}
}

// TestKilled kills a program that has a sandbox, in a way that it cannot notice.
func TestKilled(t *testing.T) {
	needsCluster(t)
	const name = "go-test-killed"
	before := snapshot(t)
	harness := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHarness$", "-test.v")
	harness.Env = append(os.Environ(), "SANDBOX_OF_HARNESS="+name)
	harness.Stderr = t.Output()
	harness.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := harness.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "up ") {
		t.Log(lines.Text())
	}
	s, err := sandbox.Attach(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := processes(t, name); len(got) < 8 {
		t.Fatalf("got only the processes %v of a sandbox that is up", got)
	}
	if err := harness.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = harness.Wait()
	eventually(t, "all of it to be gone", func() error {
		if left := processes(t, name); len(left) > 0 {
			return fmt.Errorf("processes are left: %v", left)
		}
		if _, err := os.Stat(s.Dir); err == nil {
			return fmt.Errorf("%s is left", s.Dir)
		}
		if diff := cmp.Diff(before, snapshot(t)); diff != "" {
			return fmt.Errorf("the machine is not as it was (-before +after):\n%s", diff)
		}
		return nil
	})
}

// TestKeeperKilled kills what would have cleaned up, too: the next command does.
func TestKeeperKilled(t *testing.T) {
	needsCluster(t)
	const name = "go-test-2"
	before := snapshot(t)
	s, err := sandbox.Up(t.Context(), sandbox.Options{Name: name, Bare: true, Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes(t, name) {
		var pid int
		if _, err := fmt.Sscan(p, &pid); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(p, "serin-sandbox-keeper") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "the kernel to end its processes", func() error {
		if left := processes(t, name); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
	if err := sandbox.Down(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("got %v, want no folder %s: %v", err, s.Dir, fs.ErrNotExist)
	}
	compare(t, before)
}
