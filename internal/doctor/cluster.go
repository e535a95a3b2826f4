package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/run"
)

// leastTekton is the version from which on finally is reached in all ways in which a run may end.
var leastTekton = version.MustParseGeneric("1.13.0")

// homes are the namespaces in which Tekton is installed.
var homes = []string{"tekton-pipelines", "openshift-pipelines"}

var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	accounts   = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	crds       = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
		Resource: "customresourcedefinitions"}
	cronJobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}
	tasks    = schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "tasks"}
)

// data is that of a ConfigMap of Tekton's; nil where there is none.
func data(ctx context.Context, c *kube.Cluster, name string) (map[string]string, error) {
	for _, home := range homes {
		found, err := c.Objects(configMaps, home).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading ConfigMap %s of %s: %w", name, home, err)
		}
		values, _, err := unstructured.NestedStringMap(found.Object, "data")
		if values == nil {
			values = map[string]string{}
		}
		return values, err
	}
	return nil, nil
}

// served says whether the cluster has a kind of object.
func served(ctx context.Context, c *kube.Cluster, name string) (bool, error) {
	_, err := c.Objects(crds, "").Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// The kinds without which other checks have nothing to look at.
const (
	pipelineRuns = "pipelineruns.tekton.dev"
	routes       = "virtualservices.networking.istio.io"
)

// absent says whether it is certain that the cluster lacks a kind of object.
func absent(ctx context.Context, c *kube.Cluster, name string) bool {
	there, err := served(ctx, c, name)
	return err == nil && !there
}

func tekton(ctx context.Context, p Patient) []Finding {
	there, err := served(ctx, p.Cluster, pipelineRuns)
	if err != nil {
		return unseen(err)
	}
	if !there {
		return wrong("the cluster has no PipelineRuns",
			"install Tekton Pipelines "+
				leastTekton.String()+" or later")
	}
	info, err := data(ctx, p.Cluster, "pipelines-info")
	if err != nil {
		return unseen(err)
	}
	installed, err := version.ParseGeneric(info["version"])
	if err != nil {
		return warning(fmt.Sprintf("Tekton Pipelines does not say its version (%q in ConfigMap "+
			"pipelines-info)", info["version"]),
			"make sure that it is "+leastTekton.String()+" or later")
	}
	if installed.LessThan(leastTekton) {
		return warning(fmt.Sprintf("Tekton Pipelines %s: a run that is cancelled or times out may "+
			"end without its finally, and leaves the canary to the janitor", installed),
			"update it to "+leastTekton.String()+" or later")
	}
	return fine("Tekton Pipelines " + installed.String())
}

// features checks the flags of Tekton's that change how a run ends.
func features(ctx context.Context, p Patient) []Finding {
	flags, err := data(ctx, p.Cluster, "feature-flags")
	if err != nil {
		return unseen(err)
	}
	var all []Finding
	if flags["keep-pod-on-cancel"] == "true" {
		all = append(all, Finding{Level: Warning, Text: "keep-pod-on-cancel is true: a step that is cancelled is " +
			"killed without a signal, and cannot take its canary back itself",
			Advice: "set it to false in ConfigMap feature-flags, or rely on finally and the janitor"})
	}
	if flags["running-in-environment-with-injected-sidecars"] == "true" {
		all = append(all, Finding{Level: OK, Text: "running-in-environment-with-injected-sidecars is true: each Task " +
			"starts about 2 s later. Serin's pods are not injected"})
	}
	if len(all) == 0 {
		all = fine("none that changes how a run ends")
	}
	return all
}

func istio(ctx context.Context, p Patient) []Finding {
	for _, name := range []string{routes, "destinationrules.networking.istio.io"} {
		there, err := served(ctx, p.Cluster, name)
		if err != nil {
			return unseen(err)
		}
		if !there {
			return wrong("the cluster has no "+name+gatewayAPI(ctx, p), "install Istio 1.22 or later: Serin shifts "+
				"weights in VirtualServices")
		}
	}
	return fine("VirtualServices and DestinationRules are served")
}

// gatewayAPI says so where the cluster has the other kind of routes.
func gatewayAPI(ctx context.Context, p Patient) string {
	if there, err := served(ctx, p.Cluster, "httproutes.gateway.networking.k8s.io"); err != nil || !there {
		return ""
	}
	return ", but HTTPRoutes of the Gateway API, which Serin does not shift"
}

// pipelines checks that the Pipeline and the Tasks that it names are there.
func pipelines(ctx context.Context, p Patient) []Finding {
	install := "apply Serin's manifest in this namespace, or the Pipeline that tkn canary render writes"
	found, err := p.Cluster.Objects(kube.Pipelines, p.Namespace).Get(ctx, p.Pipeline, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return wrong(fmt.Sprintf("namespace %s has no Pipeline %s", p.Namespace, p.Pipeline),
			install)
	}
	if err != nil {
		return unseen(err)
	}
	var missing []string
	for _, name := range references(found) {
		_, err := p.Cluster.Objects(tasks, p.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			missing = append(missing, name)
		} else if err != nil {
			return unseen(err)
		}
	}
	if len(missing) > 0 {
		return wrong(fmt.Sprintf("Pipeline %s names Tasks that are not there: %s", p.Pipeline,
			strings.Join(missing, ", ")),
			install)
	}
	return fine(fmt.Sprintf("Pipeline %s and its Tasks are there", p.Pipeline))
}

// references are the Tasks that a Pipeline names.
func references(pipeline *unstructured.Unstructured) []string {
	var names []string
	for _, part := range []string{"tasks", "finally"} {
		list, _, _ := unstructured.NestedSlice(pipeline.Object, "spec", part)
		for _, item := range list {
			task, _ := item.(map[string]any)
			name, _, _ := unstructured.NestedString(task, "taskRef", "name")
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// late is how long the janitor may not have run.
const late = 5 * time.Minute

func janitor(ctx context.Context, p Patient) []Finding {
	advice := "apply the janitor of Serin's manifest in this namespace: it takes back what a run leaves that dies " +
		"without its finally"
	found, err := p.Cluster.Objects(cronJobs, p.Namespace).Get(ctx, "serin-janitor", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return warning("there is none",
			advice)
	}
	if err != nil {
		return unseen(err)
	}
	if suspended, _, _ := unstructured.NestedBool(found.Object, "spec", "suspend"); suspended {
		return warning("it is suspended",
			"set spec.suspend of CronJob serin-janitor to false")
	}
	text, _, _ := unstructured.NestedString(found.Object, "status", "lastSuccessfulTime")
	last, err := time.Parse(time.RFC3339, text)
	switch young := p.Cluster.Now().Sub(found.GetCreationTimestamp().Time) < late; {
	case err != nil && young:
		return fine("it has not run yet")
	case err != nil:
		return warning("it has never succeeded",
			"see the Jobs of CronJob serin-janitor")
	case p.Cluster.Now().Sub(last) > late:
		return warning(fmt.Sprintf("it succeeded last at %s", last.Format(time.RFC3339)),
			"see the Jobs of CronJob serin-janitor")
	}
	return fine("it succeeded last at " + last.Format(time.RFC3339))
}

// orphans are runs that have an application and are gone.
func orphans(ctx context.Context, p Patient) []Finding {
	if absent(ctx, p.Cluster, routes) {
		return nil
	}
	all, err := status.List(ctx, p.Cluster, p.Namespace)
	if err != nil {
		return unseen(err)
	}
	var found []Finding
	for _, a := range all {
		advice := fmt.Sprintf("tkn canary abort %s -n %s --wait", a.Name, a.Namespace)
		if a.Problem != "" {
			found = append(found, Finding{Level: Error, Text: fmt.Sprintf("%s: %s", a.Name, a.Problem), Advice: advice})
		}
		if a.Ejecting {
			found = append(found, Finding{Level: Warning, Text: a.Name + ": its ejection was cut off: its Deployment " +
				"serves, and the primary is still there", Advice: fmt.Sprintf("run tkn canary eject %s -n %s again, "+
				"or start a run without an image, which takes it back", a.Name, a.Namespace)})
		}
		if !a.Busy() {
			continue
		}
		how, err := ended(ctx, p.Cluster, a.Owner())
		if err != nil {
			return unseen(err)
		}
		if how != "" {
			text := fmt.Sprintf("%s: run %s has it at weight %d, and %s", a.Name, a.Run, a.Weight, how)
			found = append(found, Finding{Level: Error, Text: text, Advice: advice})
		}
	}
	left, err := targetless(ctx, p)
	if err != nil {
		return unseen(err)
	}
	if found = append(found, left...); len(found) == 0 {
		return fine("no run has left an application half-way")
	}
	return found
}

// targetless are the primaries whose Deployments somebody has deleted.
func targetless(ctx context.Context, p Patient) ([]Finding, error) {
	list, err := p.Cluster.Objects(kube.Deployments, p.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, d := range list.Items {
		there[d.GetName()] = true
	}
	var found []Finding
	for _, d := range list.Items {
		app := application.Application{Namespace: p.Namespace, Name: d.GetLabels()[application.Label]}
		if app.Name != "" && d.GetName() == app.Primary() && !there[app.Name] {
			text := fmt.Sprintf("%s: Deployment %s serves, and %s is gone: nothing can be released", app.Name,
				d.GetName(), app.Name)
			found = append(found, warning(text, fmt.Sprintf("apply Deployment %s again, or delete what has the label "+
				"%s=%s", app.Name, application.Label, app.Name))...)
		}
	}
	return found, nil
}

// ended says how a run is no more; nothing while it goes on.
func ended(ctx context.Context, c *kube.Cluster, id run.ID) (string, error) {
	found, err := c.Objects(kube.PipelineRuns, id.Namespace).Get(ctx, id.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && string(found.GetUID()) != id.UID {
		return "is gone", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading PipelineRun %s/%s: %w", id.Namespace, id.Name, err)
	}
	r, _, err := status.RunOf(found)
	if err == nil && !r.Ended.IsZero() {
		return "has ended", nil
	}
	return "", err
}
