package autoscaler

import (
	"context"
	"log/slog"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Rest keeps the target's autoscaler from scaling it up, before it is scaled to 0. Kubernetes itself does so for an
// HorizontalPodAutoscaler; KEDA is paused. A run stamps the target before it unpauses KEDA, so where another run than
// that of the target's stamp has unpaused it, still says whether that was an earlier one.
func (a Autoscalers) Rest(ctx context.Context, r Reference, stamp string, by run.ID,
	still func(context.Context) (bool, error)) error {
	if r.Kind != ScaledObject {
		return nil
	}
	_, err := a.update(ctx, r, nil, func(now *unstructured.Unstructured) ([]kube.Operation, error) {
		has := now.GetAnnotations()
		if has[pausedReplicas] == "0" {
			return nil, nil
		}
		if of := has[application.RunAnnotation]; of != "" && of != stamp {
			if holds, err := still(ctx); err != nil || !holds {
				return nil, err
			}
		}
		if a.Mode != kube.Rehearsal {
			slog.Info("KEDA paused", "autoscaler", r.String())
		}
		return append([]kube.Operation{kube.TestAnnotation(has, application.RunAnnotation)},
			kube.SetMembers(has, map[string]string{pausedReplicas: "0", application.RunAnnotation: by.String()},
				"metadata", "annotations")...), nil
	})
	return err
}

// Wake lets an autoscaler, which was found a moment ago perhaps, scale the target again, before that is scaled up.
func (a Autoscalers) Wake(ctx context.Context, r Reference, f Found, by run.ID) error {
	if r.Kind != ScaledObject {
		return nil
	}
	known := f.target
	if f.Reference() != r {
		known = nil
	}
	_, err := a.update(ctx, r, known, func(now *unstructured.Unstructured) ([]kube.Operation, error) {
		has := now.GetAnnotations()
		_, resting := has[pausedReplicas]
		if !resting && has[application.RunAnnotation] == by.String() {
			return nil, nil
		}
		ops := append([]kube.Operation{kube.TestAnnotation(has, application.RunAnnotation)},
			kube.SetMembers(has, map[string]string{application.RunAnnotation: by.String()},
				"metadata", "annotations")...)
		if resting {
			ops = append(ops, kube.Unannotate(pausedReplicas))
		}
		slog.Info("KEDA unpaused", "autoscaler", r.String())
		return ops, nil
	})
	return err
}

// Awake says whether the target's autoscaler may scale a target up that is at 0: KEDA does unless it is paused.
func (a Autoscalers) Awake(ctx context.Context, r Reference) (bool, error) {
	if r.Kind != ScaledObject {
		return false, nil
	}
	now, err := a.get(ctx, r)
	return err == nil && now != nil && now.GetAnnotations()[pausedReplicas] != "0", err
}

// Free lets KEDA scale the target again for good, and takes Serin's mark off it.
func (a Autoscalers) Free(ctx context.Context, r Reference) error {
	if r.Kind != ScaledObject {
		return nil
	}
	_, err := a.update(ctx, r, nil, func(now *unstructured.Unstructured) ([]kube.Operation, error) {
		has := now.GetAnnotations()
		ops := []kube.Operation{kube.TestAnnotation(has, application.RunAnnotation)}
		if has[pausedReplicas] == "0" {
			ops = append(ops, kube.Unannotate(pausedReplicas))
		}
		if has[application.RunAnnotation] != "" {
			ops = append(ops, kube.Unannotate(application.RunAnnotation))
		}
		if len(ops) == 1 {
			return nil, nil
		}
		return ops, nil
	})
	return err
}
