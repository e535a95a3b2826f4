package node

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nodeLink is the name of the veth pair's end in the node.
const nodeLink = "eth0"

// sysctls are machine-wide settings that kubelet insists on. It is shown files that say so; the machine keeps its own.
var sysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// setUp turns fresh namespaces into a node. It runs in their first process.
func setUp(cfg Config) error {
	if err := mountAll(cfg); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(cfg.Hostname)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := makeCgroups(cfg.Cgroup); err != nil {
		return err
	}
	network := os.NewFile(networkFD, "network")
	_, _ = io.Copy(io.Discard, network) // ends when the link is there
	network.Close()
	return setUpNetwork(cfg)
}

// mounting is a sequence of mounts that stops at the first failure.
type mounting struct{ err error }

func (m *mounting) do(source, target, kind string, flags uintptr, data string) {
	if m.err == nil {
		if err := unix.Mount(source, target, kind, flags, data); err != nil {
			m.err = fmt.Errorf("mounting %s at %s: %w", source, target, err)
		}
	}
}

func (m *mounting) bind(source, target string) { m.do(source, target, "", unix.MS_BIND, "") }

func (m *mounting) mkdir(dirs ...string) {
	for _, dir := range dirs {
		if m.err == nil {
			m.err = os.MkdirAll(dir, 0o755)
		}
	}
}

// mountAll never makes a mount point on the host: removing a folder that is one in another mount namespace silently
// detaches the mount there. So the node has /run, /var/lib and /var/log of its own, and makes mount points only in
// those.
func mountAll(cfg Config) error {
	in := func(name ...string) string { return filepath.Join(append([]string{cfg.Dir}, name...)...) }
	m := &mounting{}
	m.do("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	m.do("proc", "/proc", "proc", 0, "")

	// A new sysfs shows this network namespace's devices. The cgroup hierarchies are carried over.
	m.mkdir(in("cgroup"))
	m.do(cgroupRoot, in("cgroup"), "", unix.MS_BIND|unix.MS_REC, "")
	m.do("sysfs", "/sys", "sysfs", 0, "")
	m.do(in("cgroup"), cgroupRoot, "", unix.MS_BIND|unix.MS_REC, "")
	if m.err == nil {
		m.err = unix.Unmount(in("cgroup"), unix.MNT_DETACH)
	}

	m.do("tmpfs", "/run", "tmpfs", 0, "mode=755")
	m.mkdir(in("lib", "kubelet"), in("lib", "containerd"), in("lib", "cni"), in("varlog", "pods"),
		in("varlog", "containers"),
		"/run/netns", "/run/containerd")
	m.bind(in("lib"), "/var/lib")
	m.bind(in("varlog"), "/var/log")
	m.bind(in("etc", "resolv.node"), "/etc/resolv.conf")
	for name, value := range sysctls {
		file := in("sysctl", name)
		m.mkdir(filepath.Dir(file))
		if m.err == nil {
			m.err = os.WriteFile(file, []byte(value+"\n"), 0o644)
		}
		if _, err := os.Stat(filepath.Join("/proc/sys", name)); err == nil {
			m.bind(file, filepath.Join("/proc/sys", name))
		}
	}
	m.do("none", "/", "", unix.MS_REC|unix.MS_SHARED, "") // last, so that the mounts above are peers of nothing
	return m.err
}

// setUpNetwork gives the node its address. Without a default route connections to Service addresses fail before they
// are translated; nothing leaves the machine by it, because the host does not forward.
func setUpNetwork(cfg Config) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	if err := addressLink(nodeLink, cfg.NodeIP); err != nil {
		return err
	}
	gateway, err := netlink.ParseAddr(cfg.HostIP + "/24")
	if err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{Gw: gateway.IP}); err != nil {
		return fmt.Errorf("adding the default route: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("letting the node forward packets: %w", err)
	}
	return nil
}

// environment is what components get besides their own.
func environment(cfg Config, own []string) []string {
	return append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + strings.TrimSuffix(cfg.Dir, "/"),
	}, own...)
}
