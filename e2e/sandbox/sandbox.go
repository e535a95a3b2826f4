package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-cd/serin/e2e/sandbox/internal/build"
	"github.com/serin-cd/serin/e2e/sandbox/internal/node"
)

// factsFile is written when a sandbox is complete.
const factsFile = "sandbox.json"

// Sandbox is a running cluster.
type Sandbox struct {
	Facts
	node *running // nil where the cluster is somebody else's
}

// running is the node behind a sandbox.
type running struct {
	cfg     node.Config
	pid     int
	control *node.Control
	owner   *node.Handle // kept because its end is the node's end; nil where another program owns it
}

// Component is a program on the node as it is now.
type Component = node.Status

// ErrNotFound is what Attach returns where no sandbox of that name is up.
var ErrNotFound = errors.New("no such sandbox")

// validName is short enough for the names of sockets and cgroups.
var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$`)

// stateDir is where all sandboxes' folders are.
func stateDir() (string, error) {
	cache, err := build.CacheDir()
	return filepath.Join(cache, "sandbox"), err
}

func dirOf(name string) (string, error) {
	if !validName.MatchString(name) {
		return "", fmt.Errorf("naming a sandbox %q: want up to 24 lower-case letters, digits and dashes", name)
	}
	base, err := stateDir()
	return filepath.Join(base, name), err
}

// Attach finds a sandbox that is up. One that is still starting is returned with an error: its logs can be read.
func Attach(name string) (*Sandbox, error) {
	dir, err := dirOf(name)
	if err != nil {
		return nil, err
	}
	if !node.Running(dir) {
		return nil, fmt.Errorf("attaching to %s: %w; start it with `sandbox up --name %s`", name, ErrNotFound, name)
	}
	cfg, err := node.Read(dir)
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", name, err)
	}
	pid, err := node.PID(dir)
	if err != nil {
		return nil, fmt.Errorf("attaching to %s, which is still starting: %w", name, err)
	}
	s := &Sandbox{node: &running{cfg: cfg, pid: pid, control: node.NewControl(dir)}}
	b, err := os.ReadFile(filepath.Join(dir, factsFile))
	if errors.Is(err, os.ErrNotExist) { // enough for logs and commands
		s.Facts = Facts{Name: name, Dir: dir, NodeIP: cfg.NodeIP}
		return s, fmt.Errorf("attaching to %s: %w", name, errStarting)
	}
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal(b, &s.Facts)
}

var errStarting = errors.New("it is still starting, or was given up; see `sandbox logs`")

// Down ends the sandbox and removes all that it was made of. Done again it does nothing. A cluster that was used by
// Options.Existing is left alone.
func (s *Sandbox) Down() error {
	if s.node == nil {
		return nil
	}
	return node.Stop(context.Background(), s.Dir)
}

// Down ends the sandbox of that name, one that is half made or half gone included.
func Down(ctx context.Context, name string) error {
	dir, err := dirOf(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return node.Stop(ctx, dir)
}

// Borrowed says that the cluster is somebody's own, used by Options.Existing.
func (s *Sandbox) Borrowed() bool { return s.node == nil }

// REST configures a client of the cluster's API, as the user serin-sandbox and without a limit of its own.
func (s *Sandbox) REST() (*rest.Config, error) {
	path := s.Kubeconfig
	if s.node != nil {
		path = filepath.Join(pkiDir(s.node.cfg), "harness.kubeconfig")
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: path}
	if path == "" {
		rules = clientcmd.NewDefaultClientConfigLoadingRules()
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: s.Context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig of %s: %w", s.Name, err)
	}
	config.QPS = -1
	config.UserAgent = "serin-sandbox"
	return config, nil
}

// Command prepares a command on the node: in its mounts, network and processes, with / as working folder.
// Service addresses, pod addresses and names of cluster DNS work there. In a cluster by Options.Existing it fails.
func (s *Sandbox) Command(ctx context.Context, command ...string) *exec.Cmd {
	if s.node == nil {
		return &exec.Cmd{Err: fmt.Errorf("running %s on the node: %s is not a sandbox's own cluster", command[0],
			s.Name)}
	}
	args := []string{"--target", strconv.Itoa(s.node.pid), "--mount", "--net", "--pid", "--uts", "--ipc", "--wd=/",
		"--"}
	return exec.CommandContext(ctx, "nsenter", append(args, command...)...)
}

// Kubectl prepares a call of kubectl as cluster administrator.
func (s *Sandbox) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	var cmd *exec.Cmd
	if s.Kube == "" {
		cmd = exec.CommandContext(ctx, "kubectl", append([]string{"--context=" + s.Context}, args...)...)
	} else {
		cmd = exec.CommandContext(ctx, s.Kube, append([]string{"kubectl"}, args...)...)
	}
	cmd.Env = os.Environ()
	if s.Kubeconfig != "" {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+s.Kubeconfig)
	}
	return cmd
}

// Components tells how the programs of the node are.
func (s *Sandbox) Components(ctx context.Context) ([]Component, error) {
	if s.node == nil {
		return nil, nil
	}
	return s.node.control.Components(ctx)
}

// Start starts a component. One that runs goes on.
func (s *Sandbox) Start(ctx context.Context, component string) error {
	return s.control(ctx, "start", component)
}

// Stop ends a component, by force after 10 s, and returns when it has ended. It stays down until Start.
func (s *Sandbox) Stop(ctx context.Context, component string) error {
	return s.control(ctx, "stop", component)
}

// Kill ends a component at once, without a chance to clean up. Half a second later it is started again, as after any
// crash.
func (s *Sandbox) Kill(ctx context.Context, component string) error {
	return s.control(ctx, "kill", component)
}

// Restart is Stop and Start. The component may not be ready when it returns.
func (s *Sandbox) Restart(ctx context.Context, component string) error {
	return s.control(ctx, "restart", component)
}

func (s *Sandbox) control(ctx context.Context, verb, component string) error {
	if s.node == nil {
		return fmt.Errorf("%s %s: the cluster is not a sandbox's own", verb, component)
	}
	return s.node.control.Do(ctx, verb, component)
}

// LogFile is where a component writes; the node's own are keeper and node. It is empty where there is no node.
func (s *Sandbox) LogFile(component string) string {
	if s.node == nil {
		return ""
	}
	return s.node.cfg.Log(component)
}

// LogTail is the last n lines of a component's log.
func (s *Sandbox) LogTail(component string, n int) (string, error) {
	text, err := tailFile(s.LogFile(component), n)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("reading the log of %s: it has none, want one of %v", component, s.LogNames())
	}
	return text, err
}

// LogNames are the components that have written a log.
func (s *Sandbox) LogNames() []string {
	found, _ := filepath.Glob(s.LogFile("*"))
	var names []string
	for _, f := range found {
		base := filepath.Base(f)
		names = append(names, base[:len(base)-len(".log")])
	}
	slices.Sort(names)
	return names
}

// List returns the names of all sandboxes that have a folder, up or not.
func List() ([]string, error) {
	base, err := stateDir()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
