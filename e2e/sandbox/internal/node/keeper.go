package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/serin-cd/serin/e2e/sandbox/internal/preflight"
)

// The keeper's files, beside the standard three.
const (
	lockFD   = 3 + iota // held locked for as long as the keeper lives
	ownerFD             // ends when the owner dies; a byte first means that the owner has left it running
	reportFD            // where the keeper says that the node is there, or why not
)

// The supervisor's files, beside the standard three.
const networkFD = 3 // ends when the veth pair is in place

// detached is what the owner writes to leave the node running.
const detached = 'd'

// report is the keeper's only word to its owner.
type report struct {
	PID int // of the supervisor, as the host sees it
	Err string
}

// keep makes the node of dir, waits until it is to end, and takes it away.
func keep(dir string) error {
	// The kernel kills the supervisor when the thread that started it ends, so this thread must be the one that stays.
	runtime.LockOSThread()
	for _, fd := range []int{lockFD, ownerFD, reportFD} {
		syscall.CloseOnExec(fd)
	}
	cfg, err := Read(dir)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	orphaned := make(chan struct{})
	go watchOwner(os.NewFile(ownerFD, "owner"), orphaned)

	supervisor, err := start(cfg)
	out := report{}
	if err != nil {
		out.Err = err.Error()
	} else {
		out.PID = supervisor.Process.Pid
		err = os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(out.PID)), 0o600)
	}
	to := os.NewFile(reportFD, "report")
	_ = json.NewEncoder(to).Encode(out) // an owner that is gone shows itself at ownerFD
	to.Close()
	if err == nil {
		ended := make(chan error, 1)
		go func() { ended <- supervisor.Wait() }()
		select {
		case <-signals:
		case <-orphaned:
		case err = <-ended:
			err = fmt.Errorf("the node ended by itself: %w", err)
			ended <- nil
		}
		_ = supervisor.Process.Kill()
		<-ended
	}
	return errors.Join(err, Remove(cfg))
}

func watchOwner(owner *os.File, orphaned chan<- struct{}) {
	var b [1]byte
	if n, _ := io.ReadFull(owner, b[:]); n == 1 && b[0] == detached {
		return
	}
	close(orphaned)
}

// start makes the namespaces and the network between them and the host.
func start(cfg Config) (*exec.Cmd, error) {
	ready, done, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer done.Close()
	log, err := os.OpenFile(cfg.Log("node"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       []string{supervisorName, cfg.Dir},
		Dir:        "/",
		Stdout:     log,
		Stderr:     log,
		ExtraFiles: []*os.File{networkFD - 3: ready},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: preflight.Namespaces,
			Pdeathsig:  syscall.SIGKILL,
			Setsid:     true,
		},
	}
	err = cmd.Start()
	ready.Close()
	if err != nil {
		return nil, fmt.Errorf("making the node's namespaces: %w", err)
	}
	if err := joinHost(cfg, cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	return cmd, nil
}

// joinHost makes a veth pair between the host and the network namespace of the process.
func joinHost(cfg Config, pid int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = cfg.Veth
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: nodeLink, PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("making the link %s between host and node: %w", cfg.Veth, err)
	}
	return addressLink(cfg.Veth, cfg.HostIP)
}

func addressLink(name, ip string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	addr, err := netlink.ParseAddr(ip + "/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("giving link %s the address %s: %w", name, ip, err)
	}
	return netlink.LinkSetUp(link)
}

// Remove takes away what a node whose processes have ended leaves on the host: link, cgroups, folder.
func Remove(cfg Config) error {
	var failures []error
	if link, err := netlink.LinkByName(cfg.Veth); err == nil {
		if err := netlink.LinkDel(link); err != nil && !errors.Is(err, syscall.ENODEV) {
			failures = append(failures, fmt.Errorf("removing link %s: %w", cfg.Veth, err))
		}
	}
	if err := removeCgroups(cfg.Cgroup, 10*time.Second); err != nil {
		failures = append(failures, err)
	}
	if err := os.RemoveAll(cfg.Dir); err != nil {
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}
