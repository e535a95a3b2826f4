package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	helm "helm.sh/helm/v4/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// client is Helm's. It gives what Helm writes the live values of what Serin holds, at the last moment: a post-renderer
// would be too early, for a run may change them between the rendering and the writing. An object that has changed since
// its values were read is refused by the API server, and is given those of then.
type client struct {
	*helm.Client
	ctx       context.Context // Helm's interface has none
	cluster   *kube.Cluster
	namespace string
	seen      *rendered
}

// Create is Helm's, for a release that is installed.
func (c *client) Create(resources helm.ResourceList, options ...helm.ClientCreateOption) (*helm.Result, error) {
	if _, err := c.keep(resources, originals(resources)); err != nil {
		return &helm.Result{}, err
	}
	return c.Client.Create(resources, options...)
}

// Update is Helm's, for a release that is upgraded.
func (c *client) Update(before, after helm.ResourceList, options ...helm.ClientUpdateOption) (*helm.Result, error) {
	rendered, all := originals(after), &helm.Result{}
	for {
		held, err := c.keep(after, rendered)
		if err != nil {
			return all, err
		}
		result, err := c.Client.Update(held.notRemoved(before, after, c.seen), after, options...)
		if result != nil {
			all.Created = append(all.Created, result.Created...)
			all.Updated, all.Deleted = result.Updated, append(all.Deleted, result.Deleted...)
		}
		if !apierrors.IsConflict(err) {
			return all, err
		}
		slog.Info("applying again what has changed meanwhile", "error", err.Error())
		if paused := kube.Pause(c.ctx); paused != nil {
			return all, fmt.Errorf("%w; last: %w", paused, err)
		}
	}
}

// originals are copies of objects as they were rendered.
func originals(resources helm.ResourceList) map[*resource.Info]*unstructured.Unstructured {
	all := map[*resource.Info]*unstructured.Unstructured{}
	for _, info := range resources {
		if o, ok := info.Object.(*unstructured.Unstructured); ok {
			all[info] = o.DeepCopy()
		}
	}
	return all
}

// keep gives objects, as they were rendered, the live values of what Serin holds.
func (c *client) keep(resources helm.ResourceList,
	rendered map[*resource.Info]*unstructured.Unstructured) (held holdings, err error) {
	if held, err = c.holdings(); err != nil {
		return held, err
	}
	for _, info := range resources {
		from, ok := rendered[info]
		if !ok || info.Namespace != c.namespace {
			continue
		}
		o := from.DeepCopy()
		if err := held.keep(c.ctx, o); err != nil {
			return held, err
		}
		info.Object, info.ResourceVersion = runtime.Object(o), ""
	}
	return held, nil
}

// shareWithHelm marks the Services that Serin has made as those of the release, if its chart has them from now on. Helm
// writes nothing that is not marked.
func (c *client) shareWithHelm(services []string, release string) error {
	held, err := c.holdings()
	if err != nil {
		return err
	}
	for _, name := range services {
		if !held.apps[name] {
			continue
		}
		objects := c.cluster.Objects(kube.Services, c.namespace)
		err := kube.Retry(c.ctx, func(ctx context.Context) error {
			live, err := objects.Get(ctx, name, metav1.GetOptions{})
			if err != nil || live.GetLabels()[application.Label] != name || live.GetAnnotations()[releaseName] != "" {
				return err
			}
			mark := map[string]any{"metadata": map[string]any{
				"labels":      map[string]any{"app.kubernetes.io/managed-by": "Helm"},
				"annotations": map[string]any{releaseName: release, releaseNamespace: c.namespace},
			}}
			body, err := json.Marshal(mark)
			if err == nil {
				_, err = objects.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "helm"})
			}
			return err
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("marking Service %s as one of release %s: %w", name, release, err)
		}
	}
	return nil
}

// The annotations by which Helm knows the objects of a release.
const (
	releaseName      = "meta.helm.sh/release-name"
	releaseNamespace = "meta.helm.sh/release-namespace"
)

// notRemoved are the objects of the release as it was, less those that are not rendered any more and must stay.
func (h holdings) notRemoved(before, after helm.ResourceList, seen *rendered) helm.ResourceList {
	return slices.DeleteFunc(slices.Clone(before), func(info *resource.Info) bool {
		if after.Contains(info) || !h.needs(info.Mapping.GroupVersionKind.GroupKind(), info.Name, seen) {
			return false
		}
		slog.Info("left in place, though the chart has it no more: Serin holds it",
			"kind", info.Mapping.GroupVersionKind.Kind, "name", info.Name)
		return true
	})
}
