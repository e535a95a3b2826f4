package scenarios

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/task/run"
)

// prometheus is a second one on the node. It scrapes what the sandbox's own scrapes, and may be away without disturbing
// the scenarios beside it.
type prometheus struct {
	*play
	url   string
	ended chan error // what came of its process
}

// prometheusPort is that of the last one.
var prometheusPort atomic.Int32

func (p *play) prometheus() *prometheus {
	p.Helper()
	url := fmt.Sprintf("http://%s:%d", p.app.Sandbox.NodeIP, 9090+prometheusPort.Add(1))
	own := &prometheus{play: p, url: url}
	own.begin()
	p.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := own.quit(ctx); err != nil {
			p.Error(err)
		}
	})
	return own
}

// port is that at all addresses of the node: a port-forward leads to its loopback.
func (p *prometheus) port() string { return p.url[strings.LastIndexByte(p.url, ':')+1:] }

// begin returns when it answers.
func (p *prometheus) begin() {
	p.Helper()
	dir := p.app.Sandbox.Dir
	cmd := p.app.Sandbox.Command(context.WithoutCancel(p.Context()), "prometheus",
		"--config.file="+filepath.Join(dir, "etc", "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(dir, "prometheus-"+p.app.Namespace),
		"--web.listen-address=:"+p.port(), "--web.enable-lifecycle", "--log.level=warn")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	p.ended = make(chan error, 1)
	go func() { p.ended <- cmd.Wait() }()
	err := p.app.Eventually(p.Context(), time.Minute, "Prometheus answers", func(ctx context.Context) (bool, error) {
		err := p.ask(ctx, http.MethodGet, "/-/ready")
		return err == nil, err
	})
	if err != nil {
		p.Fatal(err)
	}
}

// halt returns when it has ended. Its data stay.
func (p *prometheus) halt() {
	p.Helper()
	if err := p.quit(p.Context()); err != nil {
		p.Fatal(err)
	}
}

func (p *prometheus) quit(ctx context.Context) error {
	if err := p.ask(ctx, http.MethodPost, "/-/quit"); err != nil {
		return fmt.Errorf("stopping Prometheus: %w", err)
	}
	select {
	case err := <-p.ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stopping Prometheus: %w", ctx.Err())
	}
}

func (p *prometheus) ask(ctx context.Context, method, path string) error {
	request, err := http.NewRequestWithContext(ctx, method, p.url+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	return nil
}

// at20 begins a release that is judged by a Prometheus of its own, and returns when the canary has 20 %.
func at20(t *testing.T) (*prometheus, *trial.Run) {
	t.Helper()
	p := deploy(t)
	own := p.prometheus()
	p.first(60)
	p.push(trial.V2)
	second := p.startWith("second", map[string]string{"prometheus-url": own.url})
	p.eventually("the canary has 20 %", func(s trial.State) bool { return s.Weight == 20 })
	return own, second
}

func TestPrometheusRestartedInAStage(t *testing.T) {
	p, second := at20(t)
	p.halt()
	p.begin()
	p.ends(second, run.Promoted, true)
	p.serves(trial.V2)
}

func TestScrapesMissingInAStage(t *testing.T) {
	p, second := at20(t)
	p.halt()
	p.pause(30 * time.Second)
	p.begin()
	p.ends(second, run.Promoted, true)
	p.serves(trial.V2)
}
