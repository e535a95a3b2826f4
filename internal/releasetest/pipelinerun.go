package releasetest

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
)

// PipelineRun is the application in the hands of a run whose PipelineRun exists; it is made where it does not.
func (a *App) PipelineRun(name string, through ...func(http.RoundTripper) http.RoundTripper) *release.Release {
	a.t.Helper()
	runs := a.Cluster.Objects(kube.PipelineRuns, a.Namespace)
	object, err := runs.Get(a.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		made := &unstructured.Unstructured{Object: map[string]any{
			"spec": map[string]any{"pipelineRef": map[string]any{"name": "canary"}},
		}}
		made.SetAPIVersion("tekton.dev/v1")
		made.SetKind("PipelineRun")
		made.SetName(name)
		object, err = runs.Create(a.t.Context(), made, metav1.CreateOptions{})
	}
	if err != nil {
		a.t.Fatal(err)
	}
	r := a.Run(name, through...)
	r.ID.UID = string(object.GetUID())
	r.Lease.Holder = r.ID
	return r
}

// Finish gives a PipelineRun the condition that Tekton gives it at its end.
func (a *App) Finish(name string) {
	a.t.Helper()
	patch := []byte(`{"status":{"conditions":[{"type":"Succeeded","status":"False","reason":"Failed"}]}}`)
	_, err := a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Patch(a.t.Context(), name, types.MergePatchType, patch,
		metav1.PatchOptions{}, "status")
	if err != nil {
		a.t.Fatal(err)
	}
}
