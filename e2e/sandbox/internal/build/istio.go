package build

import "path/filepath"

// istioExtensions imports each of the 350 extensions that an Envoy may have, a fifth of all that istiod compiles.
// Without it istiod knows the extensions that it configures itself; it refuses an EnvoyFilter that has another.
const istioExtensions = "pkg/config/xds/filter_types.gen.go"

// Istiod is Istio's control plane, pilot-discovery.
func Istiod() (Artifact, error) {
	program, err := cluster("istiod", target{packages: []string{"istio.io/istio/pilot/cmd/pilot-discovery"},
		tags: "vtprotobuf,disable_pgv"})
	program.patches = []patch{{module: "istio.io/istio", remove: []string{istioExtensions}}}
	return program, err
}

// IstioCRDs is crds.yaml, the custom resource definitions of the Istio version that this module requires.
func IstioCRDs() (Artifact, error) {
	dir, err := sourceDir()
	return definitions{name: "istio-crds", from: dir, module: "istio.io/api",
		file: filepath.Join("kubernetes", "customresourcedefinitions.gen.yaml")}, err
}
