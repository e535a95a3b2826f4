package releasetest

import (
	"context"
	"fmt"
	"time"

	istio "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// resting is a Deployment without pods, whose names and image are filled in.
const resting = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, annotations: {serin.dev/revision: 0a1b2c}}
spec:
  replicas: 0
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: app, image: "%[2]s"}]}
`

// pending is a PipelineRun that Tekton does not start.
const pending = `
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: %[1]s-2}
spec:
  status: PipelineRunPending
  pipelineRef: {name: canary}
  params: [{name: app, value: %[1]s}]
`

// Released makes the objects of an application as they are while its second run is at weight 20, without any pods. It
// returns the run.
func Released(ctx context.Context, c *kube.Cluster, app application.Application) (run.ID, error) {
	var id run.ID
	for _, text := range []string{fmt.Sprintf(resting, app.Primary(), Image("1")),
		fmt.Sprintf(resting, app.Name, Image("2")), fmt.Sprintf(pending, app.Name)} {
		made, err := create(ctx, c, app.Namespace, text,
			metav1.CreateOptions{FieldManager: kube.FieldManager})
		if err != nil {
			return id, fmt.Errorf("making the objects of %s: %w", app, err)
		}
		id = run.ID{Namespace: app.Namespace, Name: made.GetName(), UID: string(made.GetUID())}
	}
	_, err := c.VirtualServices(app.Namespace).Create(ctx, split(app, Shifted(c, id, 20)),
		metav1.CreateOptions{FieldManager: kube.FieldManager})
	if err != nil {
		return id, fmt.Errorf("making the route of %s: %w", app, err)
	}
	return id, nil
}

// create makes an object from YAML.
func create(ctx context.Context, c *kube.Cluster, namespace, text string,
	how metav1.CreateOptions) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		return nil, err
	}
	made, err := c.Objects(resources[o.GetKind()], namespace).Create(ctx, o, how)
	if err != nil {
		return nil, fmt.Errorf("making %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return made, nil
}

// Shifted is the record of a run that has given these weights one after the other.
func Shifted(c *kube.Cluster, id run.ID, weights ...parameter.Weight) record.Record {
	rec := record.Record{ID: id, Created: c.Now(), Phase: run.Shifting, Revision: "0a1b2c", Previous: "3d4e5f"}
	for i, w := range weights {
		rec.Stages = append(rec.Stages, run.Stage{Weight: w, At: c.Now().Add(time.Duration(i) * time.Second)})
	}
	return rec
}

// split is the route of an application with a record.
func split(app application.Application, rec record.Record) *networking.VirtualService {
	to := func(service string, weight int32) *istio.HTTPRouteDestination {
		return &istio.HTTPRouteDestination{Destination: &istio.Destination{Host: service}, Weight: weight}
	}
	vs := &networking.VirtualService{ObjectMeta: metav1.ObjectMeta{Name: app.Name,
		Annotations: map[string]string{application.RunAnnotation: rec.String()}}}
	canary := int32(rec.Weight())
	vs.Spec.Hosts = []string{app.Name + "." + app.Namespace + ".test"}
	vs.Spec.Http = []*istio.HTTPRoute{{Route: []*istio.HTTPRouteDestination{
		to(app.Primary(), 100-canary), to(app.Canary(), canary)}}}
	return vs
}

// Record writes the record of an application's route, as the run would, and leaves the weights.
func Record(ctx context.Context, c *kube.Cluster, app application.Application, rec record.Record) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, application.RunAnnotation, rec.String())
	_, err := c.VirtualServices(app.Namespace).Patch(ctx, app.Name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: kube.FieldManager})
	return err
}
