package workload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Deployment is a Deployment as the API server sent it: what is read of it typed, and the rest as it
// came, so that fields which this program does not know are counted and copied too. The types of
// k8s.io/api would add 4 MB to each step.
type Deployment struct {
	View

	spec map[string]any // whole
}

// View is what is read of a Deployment.
type View struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec   Spec   `json:"spec"`
	Status Status `json:"status"`
}

// Spec is what is read of a Deployment's spec.
type Spec struct {
	Replicas *int32                `json:"replicas"`
	Paused   bool                  `json:"paused"`
	Selector *metav1.LabelSelector `json:"selector"`
	Strategy struct {
		Type string `json:"type"`
	} `json:"strategy"`
	Template struct {
		Metadata struct {
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			Containers []Container `json:"containers"`
		} `json:"spec"`
	} `json:"template"`
}

// Container is what is read of a container.
type Container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
	Ports []Port `json:"ports"`
}

// Port is what is read of a container's port.
type Port struct {
	ContainerPort int32  `json:"containerPort"`
	Protocol      string `json:"protocol"`
}

// Status is what is read of a Deployment's status.
type Status struct {
	ObservedGeneration int64 `json:"observedGeneration"`
	Replicas           int32 `json:"replicas"`
	UpdatedReplicas    int32 `json:"updatedReplicas"`
	ReadyReplicas      int32 `json:"readyReplicas"`
	AvailableReplicas  int32 `json:"availableReplicas"`
	Conditions         []struct {
		Type    string `json:"type"`
		Status  string `json:"status"`
		Message string `json:"message"`
	} `json:"conditions"`
}

// FromObject reads a Deployment that came from the dynamic client or from a watch of it.
func FromObject(object runtime.Object) (*Deployment, error) {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("reading a Deployment: got %T", object)
	}
	d := &Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &d.View); err != nil {
		return nil, fmt.Errorf("reading Deployment %s: %w", u.GetName(), err)
	}
	d.spec, _ = u.Object["spec"].(map[string]any)
	if d.Spec.Selector == nil || d.template() == nil {
		return nil, fmt.Errorf("reading Deployment %s: it has no selector or no template", u.GetName())
	}
	return d, nil
}

func (d *Deployment) template() map[string]any {
	template, _ := d.spec["template"].(map[string]any)
	return template
}

// Revision is the sha256, in hex, of the pod template in canonical JSON: members sorted, no white
// space, no member that is null.
func (d *Deployment) Revision() string { return revisionOf(d.template()) }

func revisionOf(template map[string]any) string {
	var canonical bytes.Buffer
	encoder := json.NewEncoder(&canonical)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(withoutNull(template)); err != nil {
		panic(err) // it was JSON when it came
	}
	sum := sha256.Sum256(bytes.TrimSpace(canonical.Bytes()))
	return hex.EncodeToString(sum[:])
}

func withoutNull(value any) any {
	switch v := value.(type) {
	case map[string]any:
		kept := make(map[string]any, len(v))
		for key, member := range v {
			if member != nil {
				kept[key] = withoutNull(member)
			}
		}
		return kept
	case []any:
		kept := make([]any, len(v))
		for i, member := range v {
			kept[i] = withoutNull(member)
		}
		return kept
	}
	return value
}

// Stamp names the run that last changed the Deployment, empty for none.
func (d *Deployment) Stamp() string { return d.Annotations[application.RunAnnotation] }

// StampedBy says whether it was that run.
func (d *Deployment) StampedBy(id run.ID) bool { return d.Stamp() == id.String() }

// Promoted is the revision that a primary was last given, empty for none.
func (d *Deployment) Promoted() string { return d.Annotations[application.RevisionAnnotation] }

// Previous is the revision from which the run of the stamp promoted a primary, empty where it has not, or has undone
// it.
func (d *Deployment) Previous() string { return d.Annotations[application.PreviousAnnotation] }

// KeptUntil is until when a target's pods stay up though its run has failed; zero where nobody wants that.
func (d *Deployment) KeptUntil() time.Time {
	until, _ := time.Parse(time.RFC3339, d.Annotations[application.KeepAnnotation])
	return until
}

// Autoscaler is what a target was told of its autoscaler, empty for nothing.
func (d *Deployment) Autoscaler() string { return d.Annotations[application.AutoscalerAnnotation] }

// Wanted is how many pods the Deployment asks for.
func (d *Deployment) Wanted() int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// Listens says whether the pods listen at a port, as far as their containers tell: those that name none may.
func (d *Deployment) Listens(port int64) bool {
	told := false
	for _, c := range d.Spec.Template.Spec.Containers {
		for _, p := range c.Ports {
			told = true
			if int64(p.ContainerPort) == port {
				return true
			}
		}
	}
	return !told
}

// Ready says whether all wanted pods are of the present template and available, and no other pod is left. A
// Deployment that wants none is not: nobody would serve.
func (d *Deployment) Ready() bool {
	s := d.Status
	return d.Wanted() > 0 && s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == d.Wanted() &&
		s.Replicas == d.Wanted() && s.AvailableReplicas == d.Wanted()
}

// RolledOut says whether no pod of an earlier template is left, and one of the present is available: a rollout that was
// once complete, even if a pod has failed since, or an autoscaler wants another number of them.
func (d *Deployment) RolledOut() bool {
	s := d.Status
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == s.Replicas && s.AvailableReplicas > 0
}

// Progress is the state of the pods in words.
func (d *Deployment) Progress() string {
	text := fmt.Sprintf("%d of %d pods updated, %d available", d.Status.UpdatedReplicas, d.Wanted(),
		d.Status.AvailableReplicas)
	for _, c := range d.Status.Conditions {
		if c.Status != "True" && c.Message != "" || c.Type == "ReplicaFailure" {
			text += "; " + c.Message
		}
	}
	return text
}

// Short is a revision as people read it: its first 12 hex digits.
func Short(revision string) string { return revision[:min(12, len(revision))] }
