package workload

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// AdmitPods refuses a target whose selector, as a Service can have it, selects pods of others too: the canary's would
// lead to them, and who has led to both would lead to one. Those of Jobs come and go, and do not count. Where pods may
// not be listed that is logged.
func AdmitPods(ctx context.Context, pods lister, target *Deployment) error {
	selector := labels.SelectorFromSet(target.Spec.Selector.MatchLabels)
	all, err := kube.List(ctx, pods, metav1.ListOptions{LabelSelector: selector.String()})
	if apierrors.IsForbidden(err) {
		slog.Warn("not known whether the target's selector selects pods of others: give the account the rule of "+
			"config/rbac.yaml", "error", err.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing the pods of Deployment %s: %w", target.Name, err)
	}
	strangers := map[string]bool{}
	for _, p := range all.Items {
		if owner := ownerOf(&p); owner != "Deployment "+target.Name && !strings.HasPrefix(owner, "Job ") {
			strangers[owner] = true
		}
	}
	if len(strangers) == 0 {
		return nil
	}
	return failure.Configf("reading Deployment %s: its labels %s select pods of %s too, to which the canary's Service "+
		"would lead: make the Deployment anew with a selector that no other pods match", target.Name, selector,
		strings.Join(slices.Sorted(maps.Keys(strangers)), ", "))
}

// ownerOf is what keeps a pod, as KIND NAME.
func ownerOf(pod *unstructured.Unstructured) string {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return "Pod " + pod.GetName()
	}
	hash, hashed := pod.GetLabels()[templateHash]
	if name, ok := strings.CutSuffix(owner.Name, "-"+hash); ok && hashed && owner.Kind == "ReplicaSet" {
		return "Deployment " + name
	}
	return owner.Kind + " " + owner.Name
}
