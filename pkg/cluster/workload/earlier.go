package workload

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// FewestDigits are those by which people may name a revision.
const FewestDigits = 6

// Earlier is a pod template that a Deployment has had, as one of its ReplicaSets keeps it.
type Earlier struct {
	Revision string // the template's
	Images   []string
	Made     time.Time // when the Deployment had it first
	Template map[string]any

	promoted string // on a primary's: the revision that it was promoted to
	number   int    // the Deployment controller's; a template that is used again gets the newest
}

func (e Earlier) String() string {
	return fmt.Sprintf("%s (%s, %s)", Short(e.Revision), strings.Join(e.Images, ", "), e.Made.Format(time.RFC3339))
}

// History are the pod templates that the ReplicaSets of a Deployment have, the one used last first.
func History(ctx context.Context, replicaSets lister, d *Deployment) ([]Earlier, error) {
	var all *unstructured.UnstructuredList
	err := kube.Retry(ctx, func(ctx context.Context) (err error) {
		all, err = replicaSets.List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the ReplicaSets of Deployment %s: %w", d.Name, err)
	}
	var found []Earlier
	for _, set := range all.Items {
		owner := metav1.GetControllerOf(&set)
		if owner == nil || owner.UID != d.UID {
			continue
		}
		template, _, err := unstructured.NestedMap(set.Object, "spec", "template")
		if err != nil {
			return nil, fmt.Errorf("reading ReplicaSet %s: %w", set.GetName(), err)
		}
		unstructured.RemoveNestedField(template, "metadata", "labels", "pod-template-hash")
		number, _ := strconv.Atoi(set.GetAnnotations()[revisionNumber])
		found = append(found, Earlier{Revision: revisionOf(template), Images: imagesOf(template), Template: template,
			Made: set.GetCreationTimestamp().Time, number: number,
			promoted: set.GetAnnotations()[application.RevisionAnnotation]})
	}
	slices.SortStableFunc(found, func(a, b Earlier) int { return cmp.Compare(b.number, a.number) })
	return found, nil
}

func imagesOf(template map[string]any) (images []string) {
	containers, _, _ := unstructured.NestedSlice(template, "spec", "containers")
	for _, c := range containers {
		container, _ := c.(map[string]any)
		if image, ok := container["image"].(string); ok {
			images = append(images, image)
		}
	}
	return images
}

// Digits says whether a text can name a revision: it has enough hex digits, and nothing else.
func Digits(text string) bool {
	return len(text) >= FewestDigits && strings.Trim(text, "0123456789abcdef") == ""
}

// Named is the one of a target's templates whose revision begins with the digits.
func Named(history []Earlier, digits string) (Earlier, error) {
	var found []Earlier
	for _, e := range history {
		if strings.HasPrefix(e.Revision, digits) && !slices.ContainsFunc(found,
			func(f Earlier) bool { return f.Revision == e.Revision }) {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		return Earlier{}, failure.Configf("%d revisions begin with %s, want 1; there are %s", len(found), digits,
			list(history))
	}
	return found[0], nil
}

func list(history []Earlier) string {
	if len(history) == 0 {
		return "none: the Deployment keeps no ReplicaSets (revisionHistoryLimit), or was made anew"
	}
	var texts []string
	for _, e := range history {
		texts = append(texts, e.String())
	}
	return strings.Join(texts, ", ")
}

// Before is the revision that a primary was promoted to before the one that it runs: the one that its promotion has
// noted, else that of its ReplicaSet used last before; empty where neither tells.
func Before(ctx context.Context, replicaSets lister, primary *Deployment) (string, error) {
	if previous := primary.Previous(); previous != "" && previous != primary.Promoted() {
		return previous, nil
	}
	history, err := History(ctx, replicaSets, primary)
	for _, e := range history {
		if e.promoted != "" && e.promoted != primary.Promoted() {
			return e.promoted, nil
		}
	}
	return "", err
}

// Return are the operations that give a target an earlier template; none where it has it.
func Return(target *Deployment, to Earlier) []kube.Operation {
	if target.Revision() == to.Revision {
		return nil
	}
	return []kube.Operation{kube.Replace("/spec/template", to.Template)}
}
