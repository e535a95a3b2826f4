package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	chartutil "helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// rendered looks at what Helm has rendered before it is applied: which Deployments there are, and whether the canary is
// switched on in the values of their charts. It is a post-renderer that changes nothing of it.
type rendered struct {
	chart  *chart.Chart
	values map[string]any

	deployments map[string]bool
	share       func(services []string) error // with Helm, where Serin has made them
}

// origin is the annotation by which Helm tells a post-renderer which template an object comes from.
const origin = "postrenderer.helm.sh/postrender-filename"

// Run is Helm's.
func (r *rendered) Run(manifests *bytes.Buffer) (*bytes.Buffer, error) {
	values, err := chartutil.CoalesceValues(r.chart, r.values)
	if err != nil {
		return nil, fmt.Errorf("reading the values of chart %s: %w", r.chart.Name(), err)
	}
	r.deployments = map[string]bool{}
	var services []string
	documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests.Bytes()), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := documents.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return manifests, r.share(services)
		}
		if err != nil {
			return nil, fmt.Errorf("reading what chart %s renders: %w", r.chart.Name(), err)
		}
		if o.GetKind() == "Deployment" && strings.HasPrefix(o.GetAPIVersion(), "apps/") {
			r.deployments[o.GetName()] = canary(values, o.GetAnnotations()[origin])
		}
		if o.GetKind() == "Service" && o.GetAPIVersion() == "v1" {
			services = append(services, o.GetName())
		}
	}
}

// canary says whether the values of the chart that a template is of have canary.enabled. The template of a dependency
// is env/charts/APP/templates/…, and its values are below APP.
func canary(values map[string]any, template string) bool {
	folders := strings.Split(template, "/")
	for i := 1; i+1 < len(folders) && folders[i] == "charts"; i += 2 {
		below, ok := values[folders[i+1]].(map[string]any)
		if !ok {
			return false
		}
		values = below
	}
	on, _, err := unstructured.NestedBool(values, "canary", "enabled")
	return on && err == nil
}
