package workload

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
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
	var all *unstructured.UnstructuredList
	err := kube.Retry(ctx, func(ctx context.Context) (err error) {
		all, err = replicaSets.List(ctx,
			metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(primary.Spec.Selector)})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for revision %.12s of %s: %w", revision, primary.Name, err)
	}
	var template map[string]any
	newest := -1
	for _, set := range all.Items {
		owner := metav1.GetControllerOf(&set)
		number, _ := strconv.Atoi(set.GetAnnotations()[revisionNumber])
		if owner == nil || owner.UID != primary.UID ||
			set.GetAnnotations()[application.RevisionAnnotation] != revision || number <= newest {
			continue
		}
		found, _, err := unstructured.NestedMap(set.Object, "spec", "template")
		if err != nil {
			return nil, fmt.Errorf("reading ReplicaSet %s: %w", set.GetName(), err)
		}
		unstructured.RemoveNestedField(found, "metadata", "labels", "pod-template-hash")
		template, newest = found, number
	}
	return template, nil
}
