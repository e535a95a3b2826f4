package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/packing"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/run"
)

// What is wanted of tkn-canary.
const (
	wantLaunch = 60 // ms
	wantStatus = 1  // s
	wantAsked  = 5  // API calls
	wantShown  = 1  // s
)

const (
	commandPart = "Command line"
	program     = "tkn-canary"
	crowd       = 200 // applications
	crowds      = 4   // namespaces that they are in
)

// logged is a cluster that keeps an audit log.
type logged struct {
	writer              *rest.Config // by which applications are made
	kubeconfig, context string       // by which tkn-canary looks
	log                 string
}

// command is tkn-canary as it is shipped, before a cluster.
type command struct {
	logged
	file string
	rest time.Duration // how long nothing changes
}

func buildCommand(ctx context.Context, root, dir string, cluster logged) (command, error) {
	c := command{logged: cluster, file: filepath.Join(dir, program), rest: idle}
	return c, packing.Compile(ctx, root, c.file, runtime.GOOS, runtime.GOARCH)
}

// measure adds all its rows.
func (c command) measure(ctx context.Context, r *Report) error {
	if err := c.size(r); err != nil {
		return err
	}
	if err := c.launch(ctx, r); err != nil {
		return err
	}
	cluster, err := kube.New(c.writer)
	if err != nil {
		return err
	}
	defer c.disband(context.WithoutCancel(ctx))
	app, id, err := c.gather(ctx, cluster)
	if err != nil {
		return err
	}
	if err := c.status(ctx, r); err != nil {
		return err
	}
	for _, how := range []string{"on a terminal", "--plain"} {
		if err := c.watch(ctx, r, cluster, app, id, how); err != nil {
			return err
		}
	}
	return nil
}

func (c command) size(r *Report) error {
	info, err := os.Stat(c.file)
	if err != nil {
		return err
	}
	r.Add(Row{Part: commandPart, What: program + ": size", Got: float64(info.Size()) / 1e6, Unit: "MB", Digits: 1,
		None: true})
	return nil
}

// launch measures from exec to the end of a command that asks nobody.
func (c command) launch(ctx context.Context, r *Report) error {
	took, err := repeated(func() error {
		_, err := c.run(ctx, "version")
		return err
	})
	if err != nil {
		return err
	}
	r.Add(Row{Part: commandPart, What: "tkn canary version: start to end", Unit: "ms", Want: wantLaunch,
		Got: float64(took[starts/2].Microseconds()) / 1000, Note: fmt.Sprintf("median of %d, fastest %d ms", starts,
			took[0].Milliseconds())})
	return nil
}

// repeated is how long something took, from the fastest to the slowest.
func repeated(do func() error) ([]time.Duration, error) {
	var took []time.Duration
	for range starts {
		begin := time.Now()
		if err := do(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return took, nil
}

// run returns what the program prints.
func (c command) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.file, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("running %s %s: %w: %s", program, strings.Join(args, " "), err, said.String())
	}
	return string(out), nil
}

func (c command) connected(args ...string) []string {
	return append(args, "--kubeconfig", c.kubeconfig, "--context", c.context)
}

// gather makes the applications, and returns one of them with its run.
func (c command) gather(ctx context.Context, cluster *kube.Cluster) (app application.Application, id run.ID,
	err error) {
	client, err := kubernetes.NewForConfig(c.writer)
	if err != nil {
		return app, id, err
	}
	for i := range crowd {
		app = application.Application{Namespace: crowdName(i % crowds), Name: fmt.Sprintf("app-%d", i)}
		if i < crowds {
			if _, err := client.CoreV1().Namespaces().Create(ctx,
				&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: app.Namespace}},
				metav1.CreateOptions{}); err != nil {
				return app, id, fmt.Errorf("making namespace %s: %w", app.Namespace, err)
			}
		}
		if id, err = releasetest.Released(ctx, cluster, app); err != nil {
			return app, id, err
		}
	}
	return app, id, nil
}

func crowdName(i int) string { return fmt.Sprintf("bench-crowd-%d", i) }

// disband deletes the namespaces, without waiting.
func (c command) disband(ctx context.Context) {
	client, err := kubernetes.NewForConfig(c.writer)
	for i := 0; err == nil && i < crowds; i++ {
		_ = client.CoreV1().Namespaces().Delete(ctx, crowdName(i), metav1.DeleteOptions{})
	}
}

// status measures status of all applications.
func (c command) status(ctx context.Context, r *Report) error {
	before, err := c.asked()
	if err != nil {
		return err
	}
	took, err := repeated(func() error {
		out, err := c.run(ctx, c.connected("status", "-A")...)
		if n := strings.Count(out, "\nbench-crowd-"); err == nil && n != crowd {
			return fmt.Errorf("status -A shows %d applications, want %d:\n%s", n, crowd, out)
		}
		return err
	})
	if err != nil {
		return err
	}
	after, err := c.asked()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("tkn canary status -A of %d applications", crowd)
	r.Add(
		Row{Part: commandPart, What: what, Got: took[starts/2].Seconds(), Want: wantStatus, Unit: "s", Digits: 2,
			Note: fmt.Sprintf("median of %d, slowest %.2f s", starts, took[starts-1].Seconds())},
		Row{Part: commandPart, What: what + ": API calls", Got: float64(after-before) / starts, Want: wantAsked})
	return nil
}

// asked is how often the program has called the API server.
func (c command) asked() (int, error) { return countAgent(c.log, "serin/"+program) }
