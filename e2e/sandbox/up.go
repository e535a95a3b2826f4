package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/serin-cd/serin/e2e/sandbox/internal/node"
	"github.com/serin-cd/serin/e2e/sandbox/internal/pki"
	"github.com/serin-cd/serin/e2e/sandbox/internal/preflight"
	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// ErrExists is what Up returns where a sandbox of that name is up.
var ErrExists = errors.New("it is up already")

// Up makes sure that this machine can, builds what is missing, boots, and returns when all of it is usable. Where it
// fails or ctx ends, nothing is left but the cache.
func Up(ctx context.Context, o Options) (*Sandbox, error) {
	p := progress.New(o.Out)
	if o.Existing.Context != "" {
		return use(ctx, o.Existing)
	}
	if o.Name == "" {
		o.Name = DefaultName
	}
	if _, err := dirOf(o.Name); err != nil {
		return nil, err
	}
	if err := preflight.Check(ctx, p); err != nil {
		return nil, err
	}
	parts, err := choose(ctx, o.parts())
	if err != nil {
		return nil, err
	}
	s, err := buildAndBoot(ctx, p, o, parts)
	if err == nil && o.Detach {
		err = s.node.owner.Detach()
	}
	if err != nil && s != nil {
		err = fmt.Errorf("starting sandbox %s: %w%s", o.Name, err, s.why())
		return nil, errors.Join(err, s.Down())
	}
	return s, err
}

// buildAndBoot boots Kubernetes as soon as that is built, and what runs in it while the rest is. A sandbox that is
// returned with an error is half made.
func buildAndBoot(ctx context.Context, p *progress.Reporter, o Options, parts selection) (*Sandbox, error) {
	var s *Sandbox
	group, ctx := errgroup.WithContext(ctx)
	b := startBuild(ctx, group, p, parts)
	group.Go(func() (err error) {
		if err := b.wait(ctx, "kube"); err != nil {
			return err
		}
		if s, err = startNode(ctx, o, b.programs); err != nil {
			return err
		}
		p.Say("node: namespaces are there, its address is %s", s.NodeIP)
		return s.boot(ctx, p, b, o)
	})
	err := group.Wait()
	return s, err
}

// startNode chooses what distinguishes this sandbox from others and starts its node.
func startNode(ctx context.Context, o Options, built programs) (*Sandbox, error) {
	dir, err := dirOf(o.Name)
	if err != nil {
		return nil, err
	}
	unlock, err := lockState(filepath.Dir(dir)) // until the node has its folder, its lock and its link
	if err != nil {
		return nil, err
	}
	defer unlock()
	if node.Running(dir) {
		return nil, fmt.Errorf("starting sandbox %s: %w; `sandbox down --name %s` ends it", o.Name, ErrExists, o.Name)
	}
	if err := node.Stop(ctx, dir); err != nil {
		return nil, fmt.Errorf("removing what is left of an earlier sandbox %s: %w", o.Name, err)
	}
	n, err := freeSubnet(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	cfg := node.Config{
		Name: o.Name, Dir: dir, Hostname: hostname,
		NodeIP: fmt.Sprintf("10.250.%d.2", n), HostIP: fmt.Sprintf("10.250.%d.1", n),
		Veth: fmt.Sprintf("serin%d", n), Cgroup: "/serin-" + o.Name,
	}
	cfg.Components = components(cfg, built, o)
	s := &Sandbox{Facts: facts(cfg, built, o.Bare)}
	handle, err := s.prepare(ctx, cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting sandbox %s: %w", o.Name, err), node.Stop(ctx, dir))
	}
	s.node = &running{cfg: cfg, pid: handle.PID, control: node.NewControl(dir), owner: handle}
	return s, nil
}

// prepare writes the node's folder and starts the node.
func (s *Sandbox) prepare(ctx context.Context, cfg node.Config) (*node.Handle, error) {
	for _, dir := range []string{cfg.Dir, cfg.LogDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	version, err := exec.CommandContext(ctx, "containerd", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("asking containerd for its version: %w", err)
	}
	if err := writeConfigs(cfg, majorVersion(string(version))); err != nil {
		return nil, err
	}
	certificates := pki.Cluster{Dir: pkiDir(cfg), Node: cfg.Hostname, NodeIP: cfg.NodeIP, ServiceIP: apiServiceIP,
		Server: s.APIServer}
	if err := certificates.Write(); err != nil {
		return nil, err
	}
	return node.Start(cfg)
}

func facts(cfg node.Config, built programs, bare bool) Facts {
	f := Facts{
		Name:       cfg.Name,
		Kubeconfig: filepath.Join(pkiDir(cfg), "admin.kubeconfig"),
		APIServer:  "https://" + net.JoinHostPort(cfg.NodeIP, apiPort),
		NodeIP:     cfg.NodeIP,
		HostIP:     cfg.HostIP,
		Dir:        cfg.Dir,
		AuditLog:   auditLog(cfg),
		Kube:       built.kube("kube"),
	}
	if !bare {
		f.Gateway = "http://" + cfg.NodeIP
		f.Prometheus = "http://" + net.JoinHostPort(cfg.NodeIP, promPort)
		f.PodPrometheus = podPrometheus
		f.GatewaySelector = map[string]string{"istio": "ingressgateway"}
		f.Envoy = "http://" + net.JoinHostPort(cfg.NodeIP, envoyAdmin)
	}
	return f
}

func (s *Sandbox) writeFacts() error {
	b, err := json.MarshalIndent(s.Facts, "", "  ")
	if err != nil {
		return err
	}
	partial := filepath.Join(s.Dir, factsFile+".partial")
	if err := os.WriteFile(partial, b, 0o600); err != nil {
		return err
	}
	return os.Rename(partial, filepath.Join(s.Dir, factsFile))
}

// why shows the last words of components that do not run, for an error.
func (s *Sandbox) why() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	statuses, err := s.Components(ctx)
	if err != nil {
		text, _ := s.LogTail("node", 5)
		return "\nlast words of the node:\n" + text
	}
	out := ""
	for _, c := range statuses {
		if c.State == "failed" || c.Restarts > 0 {
			text, _ := s.LogTail(c.Name, 5)
			out += fmt.Sprintf("\nlast words of %s (%s, started again %d times):\n%s", c.Name, c.State, c.Restarts,
				text)
		}
	}
	return out
}

// freeSubnet finds an n for which no other sandbox and nothing on this machine uses 10.250.n.0/24.
func freeSubnet(base string) (int, error) {
	taken := map[string]bool{}
	names, err := List()
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		if cfg, err := node.Read(filepath.Join(base, name)); err == nil {
			taken[cfg.HostIP] = true
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return 0, err
	}
	for n := range 256 {
		_, subnet, err := net.ParseCIDR(fmt.Sprintf("10.250.%d.0/24", n))
		if err != nil {
			return 0, err
		}
		free := !taken[fmt.Sprintf("10.250.%d.1", n)]
		for _, a := range addrs {
			other, ok := a.(*net.IPNet)
			if ok && (subnet.Contains(other.IP) || other.Contains(subnet.IP)) {
				free = false
			}
		}
		if free {
			return n, nil
		}
	}
	return 0, errors.New("choosing a subnet: all of 10.250.0.0/16 is in use on this machine")
}

// lockState keeps two programs from starting sandboxes at the same instant.
func lockState(base string) (unlock func(), err error) {
	if err := os.MkdirAll(base, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(base, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
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
		return nil, fmt.Errorf("locking %s: %w", base, err)
	}
	return func() { f.Close() }, nil
}
