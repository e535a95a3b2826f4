package bench

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/serin-cd/serin/internal/packing"
)

// What is wanted of the programs that write the VirtualService.
const (
	wantSize   = 20 // MB
	wantStart  = 30 // ms
	wantMemory = 32 // MiB
	starts     = 15
)

// writers are the steps that write the VirtualService.
var writers = []string{"prepare-canary", "shift-weight", "analyze-metrics", "promote-primary", "rollback"}

// programs are the step programs as they are shipped, in a folder.
type programs struct {
	dir   string
	names []string
}

func buildPrograms(ctx context.Context, root, dir string) (programs, error) {
	p := programs{dir: dir}
	manifest, err := packing.Manifest(root)
	if err != nil {
		return p, err
	}
	images, err := packing.Build(ctx, root, dir, manifest, "bench", "bench")
	if err != nil {
		return p, err
	}
	for _, i := range images {
		p.names = append(p.names, i.Program)
	}
	peak := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "peak"), "./bench/peak")
	peak.Dir = filepath.Join(root, "e2e")
	if out, err := peak.CombinedOutput(); err != nil {
		return p, fmt.Errorf("building peak: %w\n%s", err, out)
	}
	return p, nil
}

// wanted is a row whose limit holds for programs that write the VirtualService, and for the others none.
func wanted(program, what, unit string, got, want float64, digits int) Row {
	return Row{Part: "Programs", What: program + ": " + what, Got: got, Want: want, Unit: unit, Digits: digits,
		None: !slices.Contains(writers, program)}
}

func (p programs) sizes(r *Report) error {
	for _, name := range p.names {
		info, err := os.Stat(filepath.Join(p.dir, name))
		if err != nil {
			return err
		}
		row := wanted(name, "size", "MB", float64(info.Size())/1e6, wantSize, 1)
		if name == "shift-weight" {
			row.Rival = "69 MB, the controller"
		}
		r.Add(row)
	}
	return nil
}

// starts measures from exec to the arrival of the first request.
func (p programs) starts(ctx context.Context, r *Report) error {
	for _, name := range p.names {
		var took []time.Duration
		for range starts {
			d, err := p.start(ctx, name)
			if err != nil {
				return err
			}
			took = append(took, d)
		}
		slices.Sort(took)
		row := wanted(name, "start to first API call", "ms", float64(took[starts/2].Microseconds())/1000, wantStart, 0)
		row.Note = fmt.Sprintf("median of %d, fastest %d ms", starts, took[0].Milliseconds())
		r.Add(row)
	}
	return nil
}

// start starts a program with a listener as its API server, and ends it when it has called.
func (p programs) start(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	called := make(chan time.Time, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case called <- time.Now():
		default:
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	server.EnableHTTP2 = true                           // as API servers do
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections of programs that were killed
	server.StartTLS()
	defer server.Close()
	kubeconfig := filepath.Join(p.dir, "listener.kubeconfig")
	if err := writeKubeconfig(kubeconfig, server); err != nil {
		return 0, err
	}
	env := environment{Kubeconfig: kubeconfig, Namespace: "bench", App: "shop", Run: "start", Prometheus: server.URL,
		Interval: "10s"}
	cmd := exec.CommandContext(ctx, filepath.Join(p.dir, name))
	cmd.Env = env.list("20")
	var said strings.Builder
	cmd.Stderr = &said
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	select {
	case at := <-called:
		return at.Sub(begin), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("starting %s: no call in 10 s: %s", name, said.String())
	}
}

func writeKubeconfig(file string, server *httptest.Server) error {
	config := api.NewConfig()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config.Clusters["bench"] = &api.Cluster{Server: server.URL, CertificateAuthorityData: ca}
	config.AuthInfos["bench"] = &api.AuthInfo{Token: "bench"}
	config.Contexts["bench"] = &api.Context{Cluster: "bench", AuthInfo: "bench"}
	config.CurrentContext = "bench"
	return clientcmd.WriteToFile(*config, file)
}

// environment is what a Task gives its steps.
type environment struct {
	Kubeconfig, Namespace, App, Run, Prometheus, Interval, Results string
}

func (e environment) list(weight string) []string {
	env := []string{
		"KUBECONFIG=" + e.Kubeconfig, "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
		"RUN_NAMESPACE=" + e.Namespace, "RUN_NAME=" + e.Run, "RUN_UID=00000000-0000-4000-8000-" +
			fmt.Sprintf("%012x", len(e.Run)),
		"PARAM_APP=" + e.App, "PARAM_NAMESPACE=" + e.Namespace, "PARAM_CANARY=" + e.App, "PARAM_PRIMARY=" + e.App +
			"-primary",
		"PARAM_WEIGHT=" + weight, "PARAM_PROMETHEUS_URL=" + e.Prometheus, "PARAM_INTERVAL=" +
			e.Interval, "PARAM_THRESHOLD=5",
		"PARAM_PREPARE_STATUS=Succeeded", "PARAM_PROMOTE_STATUS=Succeeded",
		"PARAM_HOSTS=" + e.App + "." + e.Namespace + ".test", "PARAM_GATEWAYS=public",
	}
	if e.Results != "" {
		for _, name := range []string{"verdict", "reason", "evidence", "outcome", "revision"} {
			env = append(env, "RESULT_"+strings.ToUpper(name)+"="+filepath.Join(e.Results, name))
		}
	}
	return env
}
