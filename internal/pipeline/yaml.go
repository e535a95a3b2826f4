package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	readable "go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/release/timeout"
)

// object is a Task or a Pipeline.
type object interface {
	metav1.Object
	runtime.Object
	apis.Defaultable
	apis.Validatable
}

// Write is an object as YAML, below lines of comment. What Tekton would not admit is refused.
func Write(ctx context.Context, comment string, o object) ([]byte, error) {
	kind := o.GetObjectKind().GroupVersionKind().Kind
	if err := admit(ctx, o); err != nil {
		return nil, fmt.Errorf("writing %s %s: Tekton would refuse it: %w", kind, o.GetName(), err)
	}
	sorted, err := yaml.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("writing %s %s: %w", kind, o.GetName(), err)
	}
	var document readable.Node
	if err := readable.Unmarshal(sorted, &document); err != nil {
		return nil, fmt.Errorf("writing %s %s: %w", kind, o.GetName(), err)
	}
	arrange(document.Content[0], "")
	var b bytes.Buffer
	b.WriteString(comment)
	e := readable.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&document); err != nil {
		return nil, fmt.Errorf("writing %s %s: %w", kind, o.GetName(), err)
	}
	return b.Bytes(), e.Close()
}

// admit does what Tekton's webhook does when an object is made, with Tekton's features as they are by default.
func admit(ctx context.Context, o object) error {
	features, err := config.NewFeatureFlagsFromMap(map[string]string{})
	if err != nil {
		return err
	}
	tekton := &config.Config{Defaults: config.DefaultConfig.DeepCopy(), FeatureFlags: features}
	ctx = apis.WithinCreate(config.ToContext(ctx, tekton))
	admitted := o.DeepCopyObject().(object)
	admitted.SetDefaults(ctx)
	if invalid := admitted.Validate(ctx); invalid != nil {
		return invalid
	}
	return nil
}

// order is how people read the members of a mapping, by the name of what holds it. Others follow by their names.
var order = map[string][]string{
	"":         {"apiVersion", "kind", "metadata", "spec"},
	"metadata": {"name", "labels", "annotations"},
	"spec": {
		"displayName", "description", "params", "workspaces", "results", "stepTemplate", "steps", "tasks", "finally",
	},
	"params":       {"name", "type", "description", "default", "value"},
	"workspaces":   {"name", "description", "optional", "readOnly", "workspace"},
	"results":      {"name", "description", "value"},
	"stepTemplate": {"env", "computeResources", "securityContext"},
	"securityContext": {
		"runAsNonRoot", "runAsUser", "runAsGroup", "readOnlyRootFilesystem", "allowPrivilegeEscalation", "capabilities",
	},
	"steps":   {"name", "image", "command", "env", "results", "when", "onError"},
	"env":     {"name", "value", "valueFrom"},
	"when":    {"input", "operator", "values"},
	"tasks":   task,
	"finally": task,
}

var task = []string{
	"name", "displayName", "taskRef", "runAfter", "when", "timeout", "retries", "params", "workspaces",
}

// inline are the lists that are short enough for one line.
var inline = []string{"command", "runAfter", "values"}

// member is one of a mapping.
type member struct{ name, value *readable.Node }

// arrange puts the members of mappings in order, and leaves out those that say nothing: Tekton's types have some that
// are always written. holder is the name of what holds the node.
func arrange(n *readable.Node, holder string) {
	if n.Kind != readable.MappingNode {
		for _, item := range n.Content {
			arrange(item, holder)
		}
		return
	}
	var members []member
	for pair := range slices.Chunk(n.Content, 2) {
		m := member{pair[0], pair[1]}
		m.arrange()
		if !m.empty() {
			members = append(members, m)
		}
	}
	slices.SortStableFunc(members, func(a, b member) int { return a.rank(holder) - b.rank(holder) })
	n.Content = n.Content[:0]
	for _, m := range members {
		n.Content = append(n.Content, m.name, m.value)
	}
}

func (m member) arrange() {
	arrange(m.value, m.name.Value)
	if slices.Contains(inline, m.name.Value) {
		m.value.Style = readable.FlowStyle
	}
	if m.name.Value == "timeout" {
		if d, err := time.ParseDuration(m.value.Value); err == nil {
			m.value.Value = timeout.Short(d)
		}
	}
}

func (m member) empty() bool {
	return m.value.Tag == "!!null" || m.value.Kind == readable.MappingNode && len(m.value.Content) == 0
}

// rank is the place among the members that the holder has an order for, or after them.
func (m member) rank(holder string) int {
	if i := slices.Index(order[holder], m.name.Value); i >= 0 {
		return i
	}
	return len(order[holder])
}
