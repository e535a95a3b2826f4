// Package prometheustest runs a real Prometheus that holds written samples.
package prometheustest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Series is one counter, gauge or bucket over time.
type Series struct {
	Labels  string // name{label="value",…}
	Samples []Sample
}

// Sample is a value at a time.
type Sample struct {
	At    time.Time
	Value float64
}

// Steady is a counter that grows by the same amount each scrape: one sample at from, and one every gap until to.
func Steady(labels string, from, to time.Time, gap time.Duration, start, growth float64) Series {
	s := Series{Labels: labels}
	for at := from; !at.After(to); at = at.Add(gap) {
		s.Samples = append(s.Samples, Sample{at, start})
		start += growth
	}
	return s
}

// Start runs Prometheus with these series until the test ends, and returns its address. It skips the
// test where Prometheus is not installed, or under -short.
func Start(t testing.TB, series ...Series) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Prometheus is not started under -short")
	}
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: on Debian, apt-get install prometheus", program)
		}
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if len(series) > 0 {
		write(t, filepath.Join(dir, "samples"), data, series)
	}
	server, err := Serve(t.Context(), dir, "global: {scrape_interval: 1h}\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server.URL
}

// write turns samples into blocks of a database.
func write(t testing.TB, path, data string, series []Series) {
	t.Helper()
	var text strings.Builder
	for _, s := range series {
		for _, sample := range s.Samples {
			fmt.Fprintf(&text, "%s %v %.3f\n", s.Labels, sample.Value, float64(sample.At.UnixMilli())/1000)
		}
	}
	text.WriteString("# EOF\n")
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", path, data).CombinedOutput()
	if err != nil {
		t.Fatalf("writing samples: %v: %s", err, out)
	}
}

// Server is a Prometheus that runs.
type Server struct {
	URL string
	cmd *exec.Cmd
}

// Serve starts Prometheus with a configuration, in a folder that may hold a database in data, and returns when it
// answers. It must be stopped.
func Serve(ctx context.Context, dir, config string) (*Server, error) {
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--storage.tsdb.retention.time=100y", "--log.level=warn", "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{"http://" + address, cmd}
	if err := s.ready(ctx); err != nil {
		s.Stop()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("starting Prometheus: %w: %s", err, text)
	}
	return s, nil
}

func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("not ready after 30s"))
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/-/ready", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(request); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends Prometheus.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
