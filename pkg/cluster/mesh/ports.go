package mesh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// digest is what tells ports from others: sha256 over their JSON with the API server's defaults, the first 16 hex
// digits.
func digest(ports []any) string {
	var whole []any
	for _, p := range ports {
		port, _ := p.(map[string]any)
		defaults := map[string]any{"protocol": "TCP", "targetPort": port["port"]}
		maps.Copy(defaults, port)
		whole = append(whole, defaults)
	}
	text, err := json.Marshal(whole)
	if err != nil {
		panic(err) // they were JSON when they came
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// follow gives the Services of primary and canary the ports of the apex, if they are others than when it was last
// looked at: an annotation of the apex tells, so that nobody else is asked in a release that changes none.
func (s Services) follow(ctx context.Context, apex *unstructured.Unstructured) error {
	if len(s.marked(apex)) == 0 {
		return nil
	}
	shape, err := s.shape(apex)
	if err != nil {
		return err
	}
	for _, name := range []string{s.App.Primary(), s.App.Canary()} {
		if err := s.setPorts(ctx, name, shape.Ports); err != nil {
			return err
		}
	}
	return kube.Retry(ctx, func(ctx context.Context) error {
		now, err := s.get(ctx, apex.GetName())
		if err != nil || now == nil {
			return err
		}
		mark := s.marked(now)
		if len(mark) == 0 { // by a try whose answer was lost
			apex.Object = now.Object
			return nil
		}
		patch, err := kube.Patch(mark...)
		if err == nil {
			now, err = s.Objects.Patch(ctx, apex.GetName(), types.JSONPatchType, patch, s.Mode.Patch())
		}
		if err != nil {
			return fmt.Errorf("writing Service %s: %w", apex.GetName(), err)
		}
		apex.Object = now.Object
		return nil
	})
}

// marked are the operations that say on the apex which ports the Services of primary and canary have: none if it says
// so already.
func (s Services) marked(apex *unstructured.Unstructured) []kube.Operation {
	ports, err := s.shape(apex)
	now := digest(ports.Ports)
	if err != nil || apex.GetAnnotations()[application.PortsAnnotation] == now {
		return nil
	}
	return kube.Annotate(apex.GetAnnotations(), application.PortsAnnotation, now)
}

// setPorts gives a Service that Serin has made these ports.
func (s Services) setPorts(ctx context.Context, name string, ports []any) error {
	now, err := s.find(ctx, name)
	if err != nil || now == nil {
		return err
	}
	before, err := s.shape(now)
	if err != nil || reflect.DeepEqual(before.Ports, ports) {
		return err
	}
	patch, err := kube.Patch(kube.Replace("/spec/ports", ports))
	if err != nil {
		return err
	}
	slog.Info("service follows the ports of the application's own", "service", name, "from", before.Ports, "to", ports)
	return kube.Retry(ctx, func(ctx context.Context) error {
		if _, err := s.Objects.Patch(ctx, name, types.JSONPatchType, patch, s.Mode.Patch()); err != nil {
			return fmt.Errorf("writing the ports of Service %s: %w", name, err)
		}
		return nil
	})
}

// Follows refuses ports of the apex, as it was read, that the Services of primary and canary cannot follow: one whose
// number the target's pods listen at and the primary's do not. Whichever number the Services named, one of the two
// would answer nobody. A port that has a name is found in both.
func (s Services) Follows(ctx context.Context, apex *unstructured.Unstructured, primary,
	target *workload.Deployment) error {
	if apex == nil || primary == nil || len(s.marked(apex)) == 0 {
		return nil
	}
	serving, err := s.find(ctx, s.App.Primary())
	if err != nil || serving == nil {
		return err
	}
	before, err := s.shape(serving)
	if err != nil {
		return err
	}
	now, err := s.shape(apex)
	if err != nil {
		return err
	}
	var refusals failure.Refusals
	for _, p := range now.Ports {
		port, _ := p.(map[string]any)
		number, numbered := port["targetPort"].(int64)
		was := same(before.Ports, port)
		if was == nil || !numbered || was["targetPort"] == port["targetPort"] {
			continue
		}
		if target.Listens(number) && !primary.Listens(number) {
			refusals.Addf("reading Service %s: its port %v goes to %d, where the new version listens and the one "+
				"that serves does not (it has %v): name the port in the pods, and set targetPort to the name",
				apex.GetName(), port["port"], number, was["targetPort"])
		}
	}
	return refusals.Err()
}

// same is the port of the same number.
func same(ports []any, as map[string]any) map[string]any {
	for _, p := range ports {
		if port, _ := p.(map[string]any); port["port"] == as["port"] {
			return port
		}
	}
	return nil
}
