package workload

import (
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// leastHistory is how many ReplicaSets the primary keeps at least: its previous template is in one of them, and what
// undoes a promotion takes it from there where it is too large to be kept on the primary.
const leastHistory = 2

// common are the members of a target's spec that the primary follows, besides the template.
var common = []string{"strategy", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"}

// settings are the target's values of these members as the primary gets them.
func settings(target *Deployment) map[string]any {
	all := map[string]any{}
	for _, name := range common {
		if value, there := target.spec[name]; there {
			all[name] = runtime.DeepCopyJSONValue(value)
		}
	}
	all["strategy"] = rolling(all["strategy"])
	if limit, ok := all["revisionHistoryLimit"].(int64); ok {
		all["revisionHistoryLimit"] = max(limit, leastHistory)
	}
	return all
}

// rolling is a strategy under which the primary never has fewer pods available than it wants: it serves everyone.
func rolling(strategy any) map[string]any {
	out, _ := strategy.(map[string]any)
	if out == nil {
		out = map[string]any{"type": "RollingUpdate"}
	}
	parameters, _ := out["rollingUpdate"].(map[string]any)
	if parameters == nil {
		parameters = map[string]any{}
	}
	parameters["maxUnavailable"] = int64(0)
	if surge := parameters["maxSurge"]; surge == int64(0) || surge == "0%" {
		parameters["maxSurge"] = int64(1)
	}
	out["rollingUpdate"] = parameters
	return out
}

// Follow are the operations by which a primary takes over what else it follows of the target: members of its spec, and
// labels and annotations. They are meant for the patch of Become, after its own.
func (c Copy) Follow(target, primary *Deployment, taken application.Metadata) []kube.Operation {
	var ops []kube.Operation
	now := settings(target)
	for _, name := range common {
		value, there := now[name]
		before, had := primary.spec[name]
		switch {
		case there && !reflect.DeepEqual(value, before):
			ops = append(ops, kube.Add(kube.Path("spec", name), value))
		case !there && had:
			ops = append(ops, kube.Remove("spec", name))
		}
	}
	ops = append(ops, kube.SetMembers(primary.Labels, c.Labels(taken.Of(target.Labels)), "metadata", "labels")...)
	return append(ops, kube.SetMembers(primary.Annotations, taken.Of(target.Annotations), "metadata", "annotations")...)
}

// Labels are labels of something that is the target's as its copy for the primary has them.
func (c Copy) Labels(labels map[string]string) map[string]string {
	if labels[c.key] == c.from {
		labels[c.key] = c.to
	}
	return labels
}
