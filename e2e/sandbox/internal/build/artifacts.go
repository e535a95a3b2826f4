package build

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Versions of what is not named by a go.mod of this repository.
const (
	KubernetesVersion = "v1.34.4"
	TektonVersion     = "v1.15.0"
	TriggersVersion   = "v0.36.0"
)

// Kube is every Kubernetes component, etcd and kubectl as one program, CoreDNS, and the pod sandbox's first process.
func Kube() (Artifact, error) {
	return cluster("kube", target{packages: []string{"./cmd/kube", "./cmd/coredns", "./cmd/pause"},
		ldflags: kubernetesVersionFlags()})
}

// App is the tests' application, which misbehaves on request.
func App() (Artifact, error) {
	dir, err := sourceDir()
	if err != nil {
		return nil, err
	}
	return program{name: "app", dir: filepath.Join(dir, "sandbox", "app"),
		targets: []target{{packages: []string{"."}}}}, nil
}

// MetricsServer is metrics-server, from a module of its own: its requirements leave what the others are built from
// alone.
func MetricsServer() (Artifact, error) {
	return module("metrics-server", "metrics-server",
		target{packages: []string{"sigs.k8s.io/metrics-server/cmd/metrics-server"}})
}

// Flagger is Flagger, from a module of its own: it needs a newer client of Kubernetes than the others.
func Flagger() (Artifact, error) {
	return module("flagger", "flagger", target{packages: []string{"github.com/fluxcd/flagger/cmd/flagger"}})
}

// FlaggerCRDs is crds.yaml, the custom resource definitions of that Flagger.
func FlaggerCRDs() (Artifact, error) {
	dir, err := sourceDir()
	return definitions{name: "flagger-crds", from: filepath.Join(dir, "sandbox", "modules", "flagger"),
		module: "github.com/fluxcd/flagger", file: filepath.Join("artifacts", "flagger", "crd.yaml")}, err
}

// cluster is a program of the module that keeps Kubernetes, istiod and Tekton out of the project's own graph.
func cluster(name string, targets ...target) (program, error) {
	return module("cluster", name, targets...)
}

// module is a program of one of the sandbox's modules.
func module(folder, name string, targets ...target) (program, error) {
	dir, err := sourceDir()
	if err != nil {
		return program{}, err
	}
	return program{name: name, dir: filepath.Join(dir, "sandbox", "modules", folder), targets: targets}, nil
}

// kubernetesVersionFlags makes the programs tell the version that they are: as built they would call themselves v0.0.0,
// which Tekton and others refuse.
func kubernetesVersionFlags() string {
	parts := strings.Split(strings.TrimPrefix(KubernetesVersion, "v"), ".")
	var flags strings.Builder
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, kv := range []string{
			"gitVersion=" + KubernetesVersion, "gitMajor=" + parts[0], "gitMinor=" + parts[1],
			"gitTreeState=clean", "gitCommit=module", "buildDate=2026-01-01T00:00:00Z",
		} {
			fmt.Fprintf(&flags, " -X %s.%s", pkg, kv)
		}
	}
	return flags.String()
}
