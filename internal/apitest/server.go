package apitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// startTimeout is generous: on a busy machine a start takes several times its usual four seconds.
const startTimeout = 2 * time.Minute

// Options say what a Server is made of.
type Options struct {
	// program that holds the control plane; empty is the one that SERIN_KUBE names, else the sandbox's
	Kube  string
	Extra []Component // beside etcd and the API server
	Audit bool        // keep an audit log
}

// Server is a running control plane. All that it writes is in dir.
type Server struct {
	// AuditLog is a file with every call but the controllers' own: JSON lines of audit.k8s.io/v1 Events. Empty where
	// none is kept.
	AuditLog string
	// Kubeconfig is a file by which other programs connect as an administrator.
	Kubeconfig string

	dir       string
	admin     *rest.Config
	processes []*process
	quit      chan struct{} // closed: the thread that the processes depend on ends
}

// process is one component.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// errEnded is why a start is tried again: a component ended, most likely because another process took its port first.
var errEnded = errors.New("ended early")

// Start starts a server for a program that is no test. It must be stopped; whatever ends the program ends it too.
func Start(ctx context.Context, o Options) (*Server, error) {
	modules, err := locate()
	if err != nil {
		return nil, err
	}
	if o.Kube == "" {
		if o.Kube, err = modules.kube(); err != nil {
			return nil, err
		}
	}
	sweep()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		s, err := boot(ctx, o)
		if err == nil {
			err = s.define(ctx, modules)
		}
		if err == nil {
			return s, nil
		}
		retry := errors.Is(err, errEnded) && attempt < 4
		if s != nil {
			s.Stop(!retry)
		}
		if !retry {
			return nil, fmt.Errorf("starting an API server: %w", err)
		}
	}
}

// boot starts etcd, the API server and extra components. The server that it returns with an error is to be stopped.
func boot(ctx context.Context, o Options) (*Server, error) {
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, quit: make(chan struct{})}
	ports, err := freePorts(4)
	if err != nil {
		return s, err
	}
	etcd, peer, api, controllers := ports[0], ports[1], ports[2], ports[3]
	identity, err := newIdentity(dir, "https://127.0.0.1:"+api)
	if err != nil {
		return s, err
	}
	s.admin, s.Kubeconfig = identity.admin, identity.administrators

	flags := identity.flags()
	if o.Audit {
		audit, err := s.audit()
		if err != nil {
			return s, err
		}
		flags = append(flags, audit...)
	}

	launch := s.launcher(o.Kube)
	if err := launch("etcd", "--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:"+etcd, "--advertise-client-urls=http://127.0.0.1:"+etcd,
		"--listen-peer-urls=http://127.0.0.1:"+peer, "--initial-advertise-peer-urls=http://127.0.0.1:"+peer,
		"--initial-cluster=default=http://127.0.0.1:"+peer); err != nil {
		return s, err
	}
	if err := launch("kube-apiserver", append(flags, "--etcd-servers=http://127.0.0.1:"+etcd,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+api,
		"--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true")...); err != nil {
		return s, err
	}
	if err := s.ready(ctx); err != nil {
		return s, err
	}
	if slices.Contains(o.Extra, Controllers) {
		// Only now: before its role exists the controller manager is refused, and ends.
		err = launch(string(Controllers), "--kubeconfig="+identity.controllers,
			"--service-account-private-key-file="+identity.accountKey,
			"--authentication-skip-lookup", "--use-service-account-credentials=false", "--leader-elect=false",
			"--bind-address=127.0.0.1",
			"--secure-port="+controllers, "--cert-dir="+dir, "--kube-api-qps=500", "--kube-api-burst=1000",
			"--controllers=deployment-controller,replicaset-controller,"+
				"namespace-controller,garbage-collector-controller")
	}
	return s, err
}

// launcher returns a function that starts a component. The components die with the thread that
// started them, so one thread is kept for that: whatever ends the test binary ends them.
func (s *Server) launcher(kube string) func(name string, args ...string) error {
	starts, started := make(chan *exec.Cmd), make(chan error)
	go func() {
		runtime.LockOSThread()
		for {
			select {
			case cmd := <-starts:
				started <- cmd.Start()
			case <-s.quit:
				return // locked: the thread ends too
			}
		}
	}()
	return func(name string, args ...string) error {
		log, err := os.Create(filepath.Join(s.dir, name+".log"))
		if err != nil {
			return err
		}
		defer log.Close()
		cmd := exec.Command(kube, append([]string{name}, args...)...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		starts <- cmd
		if err := <-started; err != nil {
			return fmt.Errorf("starting %s: %w", name, err)
		}
		p := &process{name: name, cmd: cmd, done: make(chan struct{})}
		s.processes = append(s.processes, p)
		go func() {
			_ = cmd.Wait() // only that it ended counts; why is in its log
			close(p.done)
		}()
		return nil
	}
}

// ready waits until the server has made its built-in roles and answers.
func (s *Server) ready(ctx context.Context) error {
	client, err := discovery.NewDiscoveryClientForConfig(s.admin)
	if err != nil {
		return err
	}
	var ended error
	err = poll(ctx, func(ctx context.Context) error {
		if ended = s.ended(); ended != nil {
			return nil
		}
		return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	return errors.Join(ended, err)
}

func (s *Server) ended() error {
	for _, p := range s.processes {
		select {
		case <-p.done:
			return fmt.Errorf("%s %w", p.name, errEnded)
		default:
		}
	}
	return nil
}

// Config connects as an administrator.
func (s *Server) Config() *rest.Config { return rest.CopyConfig(s.admin) }

// Stop ends all processes. After a failure it prints the end of their logs, and keeps these.
func (s *Server) Stop(failed bool) {
	for _, p := range slices.Backward(s.processes) {
		_ = p.cmd.Process.Kill() // may have ended
		<-p.done
	}
	close(s.quit)
	if !failed {
		_ = os.RemoveAll(s.dir) // a leftover is swept by the next test binary
		return
	}
	_ = os.RemoveAll(filepath.Join(s.dir, "etcd"))
	for _, p := range s.processes {
		file := filepath.Join(s.dir, p.name+".log")
		fmt.Fprintf(os.Stderr, "--- %s\n%s\n", file, tail(file, 8))
	}
}

func tail(file string, lines int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	all = all[max(0, len(all)-lines):]
	for i, line := range all {
		all[i] = line[:min(len(line), 240)]
	}
	return string(bytes.Join(all, []byte("\n")))
}

// freePorts finds ports that are free now. Another process may take one before it is used.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at the end, so that they differ
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// dirPrefix is followed by the id of the test binary's process.
const dirPrefix = "serin-apitest-"

// sweep removes what test binaries have left that were killed.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		pid, err := strconv.Atoi(id)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // the next one tries again
		}
	}
}
