package release_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// budget makes a PodDisruptionBudget of at most one pod away.
func budget(t *testing.T, a *releasetest.App, name string, selector metav1.LabelSelector) {
	t.Helper()
	one := intstr.FromInt32(1)
	_, err := a.Client.PolicyV1().PodDisruptionBudgets(a.Namespace).Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "podinfo"}},
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &selector},
	}, metav1.CreateOptions{FieldManager: "helm"})
	must(t, err)
}

// copied is the primary's PodDisruptionBudget, nil for none.
func copied(t *testing.T, a *releasetest.App) *policyv1.PodDisruptionBudget {
	t.Helper()
	found, err := a.Client.PolicyV1().PodDisruptionBudgets(a.Namespace).Get(t.Context(), "podinfo-primary",
		metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(t, err)
	return found
}

var (
	byApp   = metav1.LabelSelector{MatchLabels: map[string]string{"app": "podinfo"}}
	byOther = metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	byBoth  = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "app", Operator: metav1.LabelSelectorOpExists}}}
)

// TestBudgetIsCopied makes it at the first release, brings it in line at a promotion, and deletes it when the target's
// is gone.
func TestBudgetIsCopied(t *testing.T) {
	a := releasetest.New(t)
	budget(t, a, "podinfo", byApp)
	a.First()
	got := copied(t, a)
	if got == nil {
		t.Fatal("the primary has no PodDisruptionBudget, want one")
	}
	if diff := cmp.Diff(map[string]string{"app": "podinfo-primary"}, got.Spec.Selector.MatchLabels); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
	if got.Labels["app"] != "podinfo-primary" || got.OwnerReferences[0].UID != a.Deployment("podinfo-primary").UID {
		t.Errorf("labels %v, owners %v, want those of the primary", got.Labels, got.OwnerReferences)
	}
	budgets := a.Client.PolicyV1().PodDisruptionBudgets(a.Namespace)
	_, err := budgets.Patch(t.Context(), "podinfo", "application/merge-patch+json",
		[]byte(`{"spec":{"maxUnavailable":"25%"}}`), metav1.PatchOptions{})
	must(t, err)
	a.Push("2")
	must(t, whole(t.Context(), a.Run("second")))
	if got := copied(t, a).Spec.MaxUnavailable.String(); got != "25%" {
		t.Errorf("the primary may lack %s, want 25%%", got)
	}
	must(t, budgets.Delete(t.Context(), "podinfo", metav1.DeleteOptions{}))
	a.Push("3")
	must(t, whole(t.Context(), a.Run("third")))
	if copied(t, a) != nil {
		t.Error("the primary has a PodDisruptionBudget, want none: the target has none any more")
	}
}

// TestBudgetsThatAreNotCopied count the primary's pods already, or pods of which there would be two.
func TestBudgetsThatAreNotCopied(t *testing.T) {
	cases := map[string]func(*testing.T, *releasetest.App){
		"none":        func(*testing.T, *releasetest.App) {},
		"counts both": func(t *testing.T, a *releasetest.App) { budget(t, a, "podinfo", byBoth) },
		"of others":   func(t *testing.T, a *releasetest.App) { budget(t, a, "web", byOther) },
		"two of target": func(t *testing.T, a *releasetest.App) {
			budget(t, a, "podinfo", byApp)
			budget(t, a, "other", byApp)
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			prepare(t, a)
			a.First()
			if got := copied(t, a); got != nil {
				t.Errorf("the primary has PodDisruptionBudget %v, want none", got.Spec)
			}
		})
	}
}

// TestForeignBudget is refused before anything is made.
func TestForeignBudget(t *testing.T) {
	a := releasetest.New(t)
	budget(t, a, "podinfo", byApp)
	budget(t, a, "podinfo-primary", byOther)
	before := snapshot(t, a)
	_, err := a.Prepare(a.Run("run"))
	if failure.Code(err) != failure.ExitConfig ||
		!strings.Contains(err.Error(), "reading PodDisruptionBudget podinfo-primary: Serin did not make it") {
		t.Errorf("error %v (exit %d), want it refused (exit %d)", err, failure.Code(err), failure.ExitConfig)
	}
	if diff := cmp.Diff(before, snapshot(t, a)); diff != "" {
		t.Errorf("what there is has changed (-before +after):\n%s", diff)
	}
}

// TestBudgetOfSeveral gives the primary's a copy that counts no pods but its own.
func TestBudgetOfSeveral(t *testing.T) {
	a := releasetest.New(t)
	in := func(values ...string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: values}}}
	}
	budget(t, a, "shared", in("podinfo", "web"))
	a.First()
	got := copied(t, a)
	if got == nil {
		t.Fatal("the primary has no PodDisruptionBudget, want one")
	}
	if diff := cmp.Diff(in("podinfo-primary"), *got.Spec.Selector); diff != "" {
		t.Errorf("the copy counts (-want +got):\n%s", diff)
	}
	budgets := a.Client.PolicyV1().PodDisruptionBudgets(a.Namespace)
	_, err := budgets.Patch(t.Context(), "shared", types.MergePatchType, []byte(`{"spec":{"selector":`+
		`{"matchExpressions":[{"key":"app","operator":"In","values":["podinfo","podinfo-primary"]}]}}}`),
		metav1.PatchOptions{})
	must(t, err)
	a.Push("2")
	must(t, whole(t.Context(), a.Run("second")))
	if got := copied(t, a); got != nil {
		t.Errorf("two budgets count the primary's pods, whose eviction Kubernetes then refuses: %v", got.Spec.Selector)
	}
}

// TestBudgetOfOthersNow has no copy any more, which would count the others a second time.
func TestBudgetOfOthersNow(t *testing.T) {
	a := releasetest.New(t)
	budget(t, a, "podinfo", byApp)
	a.First()
	_, err := a.Client.PolicyV1().PodDisruptionBudgets(a.Namespace).Patch(t.Context(), "podinfo", types.MergePatchType,
		[]byte(`{"spec":{"selector":{"matchLabels":{"app":"web"}}}}`), metav1.PatchOptions{})
	must(t, err)
	a.Push("2")
	must(t, whole(t.Context(), a.Run("second")))
	if got := copied(t, a); got != nil {
		t.Errorf("two budgets count the pods of web: %v", got.Spec.Selector)
	}
}
