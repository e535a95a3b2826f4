package workload

import (
	"context"
	"fmt"
	"log/slog"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// revisionNumber is the annotation by which the Deployment controller numbers ReplicaSets.
const revisionNumber = "deployment.kubernetes.io/revision"

// lister is the one call that finds ReplicaSets; the dynamic client has it as it is.
type lister interface {
	List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error)
}

// TemplateOf finds the pod template of an earlier revision of a primary: as its promotion has kept it, else in its
// ReplicaSets, which carry the Deployment's annotations of their time. It returns nil where it is gone.
func TemplateOf(ctx context.Context, replicaSets lister, primary *Deployment, revision string) (map[string]any, error) {
	template, err := kept(primary, revision)
	if template != nil {
		return template, nil
	}
	if err != nil {
		slog.Warn("looking for the primary's previous template in its ReplicaSets", "error", err.Error())
	}
	return templateOfSet(ctx, replicaSets, primary, revision)
}

func templateOfSet(ctx context.Context, replicaSets lister, primary *Deployment, revision string) (map[string]any,
	error) {
	history, err := History(ctx, replicaSets, primary)
	if err != nil {
		return nil, fmt.Errorf("looking for revision %.12s: %w", revision, err)
	}
	for _, e := range history {
		if e.promoted == revision {
			return e.Template, nil
		}
	}
	return nil, nil
}
