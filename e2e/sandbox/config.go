package sandbox

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/serin-cd/serin/e2e/sandbox/internal/node"
)

//go:embed config
var configs embed.FS

// configured is what the templates in config/ know.
type configured struct {
	node.Config
	PKI         string
	WebhookPort string
	MetricsPort string
	Registries  string
}

// Authority is the certificate of the cluster's authority, as objects hold it.
func (c configured) Authority() (string, error) {
	b, err := os.ReadFile(filepath.Join(c.PKI, "ca.crt"))
	return base64.StdEncoding.EncodeToString(b), err
}

// render fills in one of the templates in config/.
func render(name string, cfg node.Config) ([]byte, error) {
	t, err := template.New(name+".tmpl").Option("missingkey=error").ParseFS(configs, "config/"+name+".tmpl")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, configured{Config: cfg, PKI: pkiDir(cfg), WebhookPort: webhookPort,
		MetricsPort: metricsPort,
		Registries:  registriesDir(cfg)}); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// writeConfigs renders what programs on the node read, to etc/ in the node's folder.
func writeConfigs(cfg node.Config, containerdMajor string) error {
	files := map[string]string{
		"containerd.toml":      "containerd" + containerdMajor + ".toml",
		"cni/10-kube.conflist": "cni.conflist",
		"kubelet.yaml":         "kubelet.yaml",
		"kube-proxy.yaml":      "kube-proxy.yaml",
		"audit.yaml":           "audit.yaml",
		"resolv.conf":          "resolv.conf",
		"resolv.node":          "resolv.node",
		"mesh.yaml":            "mesh.yaml",
		"envoy.yaml":           "envoy.yaml",
		"prometheus.yaml":      "prometheus.yaml",
	}
	for file, name := range files {
		b, err := render(name, cfg)
		if err != nil {
			return err
		}
		path := filepath.Join(cfg.Dir, "etc", file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// registriesDir is what containerd reads at each pull: a folder for each registry that it is told something of.
func registriesDir(cfg node.Config) string { return filepath.Join(cfg.Dir, "etc", "registries") }

func pkiDir(cfg node.Config) string { return filepath.Join(cfg.Dir, "pki") }

// majorVersion finds "1" in "containerd github.com/containerd/containerd 1.6.20~ds1 …"; later than 2 counts as 2.
func majorVersion(version string) string {
	for _, word := range strings.Fields(version) {
		if word = strings.TrimPrefix(word, "v"); strings.HasPrefix(word, "1.") {
			return "1"
		}
	}
	return "2"
}
