package janitor_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/janitor"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begun is version 2 as a canary of a PipelineRun that exists, at a weight, with the Lease fresh.
func begun(t *testing.T, weight parameter.Weight) (*releasetest.App, *release.Release) {
	t.Helper()
	a := releasetest.New(t)
	a.First()
	a.Push("2")
	r := a.PipelineRun("second")
	_, err := prepare.Acquire(t.Context(), r, prepare.Queue{OnBusy: prepare.Fail})
	must(t, err)
	_, err = a.Prepare(r)
	must(t, err)
	if weight > 0 {
		must(t, stage.Shift(t.Context(), r, weight, time.Minute))
	}
	return a, r
}

// deleted and finished are how a PipelineRun goes, expired how its steps stop to renew the Lease.
func deleted(t *testing.T, a *releasetest.App, r *release.Release) {
	must(t, a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Delete(t.Context(), r.ID.Name, metav1.DeleteOptions{}))
}

func finished(t *testing.T, a *releasetest.App, r *release.Release) {
	_, err := a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Patch(t.Context(), r.ID.Name, types.MergePatchType,
		[]byte(`{"status":{"conditions":[{"type":"Succeeded","status":"False","reason":"Cancelled"}]}}`),
		metav1.PatchOptions{}, "status")
	must(t, err)
}

func expired(t *testing.T, a *releasetest.App, _ *release.Release) {
	patch := fmt.Sprintf(`{"spec":{"renewTime":%q}}`,
		time.Now().Add(-2*time.Minute).UTC().Format("2006-01-02T15:04:05.000000Z"))
	_, err := a.Cluster.Objects(kube.Leases, a.Namespace).Patch(t.Context(), "serin-podinfo", types.MergePatchType,
		[]byte(patch), metav1.PatchOptions{})
	must(t, err)
}

// unleased has the Lease deleted; its steps are not there to make it again.
func unleased(t *testing.T, a *releasetest.App, _ *release.Release) {
	must(t, a.Cluster.Objects(kube.Leases, a.Namespace).Delete(t.Context(), "serin-podinfo", metav1.DeleteOptions{}))
}

// TestLeaseDeleted wants a live run left alone, and taken back once the Lease that the janitor has made for it expires.
func TestLeaseDeleted(t *testing.T) {
	a, r := begun(t, 20)
	unleased(t, a, r)
	var calls, writes atomic.Int32
	j := sweeper(t, a, &calls, &writes)
	for range 2 {
		must(t, j.Sweep(t.Context()))
		a.Want(releasetest.State{Weight: 20, Phase: run.Shifting, Target: 2, Stages: 1,
			Primary: releasetest.Image("1")})
	}
	if got := writes.Load(); got != 1 {
		t.Errorf("%d writes, want one, of the Lease", got)
	}
	made, err := r.Lease.Get(t.Context())
	must(t, err)
	if got := lease.Holder(made); got != r.ID.String() || lease.IsExpired(made, time.Now()) {
		t.Errorf("the Lease is of %q, renewed at %s, want it of %s, renewed now", got, made.Spec.RenewTime, r.ID)
	}
	must(t, r.Lease.Renew(t.Context()))
	expired(t, a, r)
	must(t, j.Sweep(t.Context()))
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: 1, Primary: releasetest.Image("1")})
}

// TestLeaseTakenWhileItWasMissing has a second run take the Lease and be refused by the record.
func TestLeaseTakenWhileItWasMissing(t *testing.T) {
	a, r := begun(t, 20)
	unleased(t, a, r)
	other := a.PipelineRun("third")
	_, err := prepare.Acquire(t.Context(), other, prepare.Queue{OnBusy: prepare.Fail})
	must(t, err)
	if _, err := a.Prepare(other); err == nil || !strings.Contains(err.Error(), "/second has been at it since") {
		t.Errorf("preparing: %v, want it refused with the name of the run that is at work", err)
	}
	var calls, writes atomic.Int32
	j := sweeper(t, a, &calls, &writes)
	must(t, j.Sweep(t.Context()))
	want := releasetest.State{Weight: 20, Phase: run.Shifting, Target: 2, Stages: 1, Primary: releasetest.Image("1")}
	a.Want(want)
	_, err = rollback.Run(t.Context(), other, other.ID, "refused", time.Second) // as its finish does
	must(t, err)
	must(t, rollback.Settled(t.Context(), other))
	must(t, other.Lease.Release(t.Context()))
	must(t, r.Lease.Renew(t.Context()))
	must(t, j.Sweep(t.Context()))
	a.Want(want)
	if made, err := r.Lease.Get(t.Context()); err != nil || lease.Holder(made) != r.ID.String() {
		t.Errorf("the Lease is %v (%v), want it of the run that is at work", made, err)
	}
}

// sweeper is a janitor that counts its calls.
func sweeper(t *testing.T, a *releasetest.App, calls, writes *atomic.Int32,
	through ...func(http.RoundTripper) http.RoundTripper) janitor.Janitor {
	t.Helper()
	config := apitest.Config(t)
	config.Wrap(releasetest.Before(func(r *http.Request) error {
		calls.Add(1)
		if releasetest.Writes(r) {
			writes.Add(1)
		}
		return nil
	}))
	for _, wrap := range through {
		config.Wrap(wrap)
	}
	account(t, a.Namespace)
	config.Impersonate.UserName = "system:serviceaccount:" + a.Namespace + ":serin-janitor"
	cluster, err := kube.New(config)
	must(t, err)
	quiet := a.Run("observer").Drain
	return janitor.Janitor{Cluster: cluster, Namespace: a.Namespace, Deadline: time.Minute,
		Drain: func(r *release.Release) error {
			r.Drain = quiet
			return nil
		}}
}

// account gives the janitor the rights that it is installed with.
func account(t *testing.T, namespace string) {
	t.Helper()
	file, err := os.Open("../../../config/janitor.yaml")
	must(t, err)
	defer file.Close()
	client, err := dynamic.NewForConfig(apitest.Config(t))
	must(t, err)
	documents := yaml.NewYAMLOrJSONDecoder(file, 4096)
	for range 3 {
		object := &unstructured.Unstructured{}
		must(t, documents.Decode(object))
		kind := object.GroupVersionKind()
		resource := kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")
		_, err := client.Resource(resource).Namespace(namespace).Create(t.Context(), object, metav1.CreateOptions{})
		must(t, err)
	}
	config := apitest.Config(t)
	config.Impersonate.UserName = "system:serviceaccount:" + namespace + ":serin-janitor"
	janitor, err := kube.New(config)
	must(t, err)
	apitest.Eventually(t, func(ctx context.Context) error { // the server learns of rights a moment later
		_, err := janitor.VirtualServices(namespace).List(ctx, metav1.ListOptions{})
		return err
	})
}

// TestScaledTargetThatNobodySettles wants KEDA paused before the canary goes: else it would scale it up again.
func TestScaledTargetThatNobodySettles(t *testing.T) {
	a := releasetest.New(t)
	a.Apply(releasetest.ScaledObject)
	a.KEDA()
	a.First()
	a.Push("2")
	r := a.PipelineRun("second")
	_, err := a.Prepare(r)
	must(t, err)
	must(t, stage.Shift(t.Context(), r, 20, time.Minute))
	deleted(t, a, r)
	var calls, writes atomic.Int32
	must(t, sweeper(t, a, &calls, &writes).Sweep(t.Context()))
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: 1, Primary: releasetest.Image("1")})
	paused := a.Autoscaler("ScaledObject", "podinfo").GetAnnotations()
	if got := paused["autoscaling.keda.sh/paused-replicas"]; got != "0" {
		t.Errorf("KEDA is paused at %q pods, want 0", got)
	}
}

func TestRunsThatNobodyEnds(t *testing.T) {
	type change func(*testing.T, *releasetest.App, *release.Release)
	unreadable := func(next http.RoundTripper) http.RoundTripper {
		return releasetest.Before(func(r *http.Request) error {
			if strings.Contains(r.URL.Path, "/pipelineruns/") {
				return apierrors.NewForbidden(kube.PipelineRuns.GroupResource(), "second", nil)
			}
			return nil
		})(next)
	}
	unlabelled := func(t *testing.T, a *releasetest.App, _ *release.Release) {
		a.Route("helm", `[{"op":"remove","path":"/metadata/labels"}]`)
	}
	broken := func(t *testing.T, a *releasetest.App, _ *release.Release) {
		a.Route("somebody", `[{"op":"replace","path":"/metadata/annotations/serin.dev~1run","value":"?"}]`)
	}
	another := func(t *testing.T, a *releasetest.App, _ *release.Release) {
		a.Record("somebody",
			`{"id":"shop/other/uid","phase":"shifting","phases":[{"weight":20,"at":"2026-11-23T12:00:00Z"}]}`)
	}
	unphased := func(t *testing.T, a *releasetest.App, r *release.Release) {
		a.Record("somebody", fmt.Sprintf(`{"id":%q,"phase":"shifting","revision":"a","previous":"b"}`, r.ID))
	}
	closed := func(t *testing.T, _ *releasetest.App, r *release.Release) {
		must(t, r.Close(t.Context(), "threshold", "threshold"))
	}
	promoting := func(t *testing.T, a *releasetest.App, r *release.Release) {
		a.UnreadyPrimary("2")
		if _, err := promote.Run(t.Context(), r, time.Second); err == nil {
			t.Fatal("promoted a version that does not become ready")
		}
	}
	// that died after its record, before its stamp
	third := func(t *testing.T, a *releasetest.App, _ *release.Release) {
		killed := &releasetest.Process{Writes: 1}
		if _, err := a.Prepare(a.Run("third", killed.Through)); err == nil {
			t.Fatal("the third run was not killed")
		}
	}
	cases := map[string]struct {
		weight  parameter.Weight
		changes []change
		through func(http.RoundTripper) http.RoundTripper
		taken   bool
	}{
		"live at 20":                           {weight: 20},
		"live at 0, Lease expired":             {weight: 0, changes: []change{expired}},
		"live at 20, Lease expired: no Tekton": {weight: 20, changes: []change{expired}, taken: true},
		"deleted at 20, Lease fresh":           {weight: 20, changes: []change{deleted}, taken: true},
		"deleted while preparing":              {weight: 0, changes: []change{deleted}, taken: true},
		"cancelled at 40":                      {weight: 40, changes: []change{finished}, taken: true},
		"deleted at 20, not labelled":          {weight: 20, changes: []change{unlabelled, deleted}, taken: true},
		"unreadable at 20, Lease fresh":        {weight: 20, through: unreadable},
		"unreadable at 20, Lease expired": {weight: 20, changes: []change{expired}, through: unreadable,
			taken: true},
		"deleted while promoting":                {weight: 60, changes: []change{promoting, deleted}, taken: true},
		"closed, live: finish will settle":       {weight: 20, changes: []change{closed}},
		"closed, finished, pods left":            {weight: 20, changes: []change{closed, finished}, taken: true},
		"closed, live, Lease expired: no Tekton": {weight: 20, changes: []change{closed, expired}, taken: true},
		"pods left by the run before another":    {weight: 0, changes: []change{closed, deleted, third}, taken: true},
		"record broken at 20, live":              {weight: 20, changes: []change{broken}},
		"record broken at 20, deleted":           {weight: 20, changes: []change{broken, deleted}, taken: true},
		"record broken at 20, Lease expired":     {weight: 20, changes: []change{broken, expired}, taken: true},
		"record broken at 0, Lease expired":      {weight: 0, changes: []change{broken, expired}},
		"record broken at 0, deleted":            {weight: 0, changes: []change{broken, deleted}, taken: true},
		"record broken while promoting, deleted": {weight: 60, changes: []change{promoting, broken, deleted},
			taken: true},
		"id of another at 20, live":           {weight: 20, changes: []change{another}},
		"id of another at 20, deleted":        {weight: 20, changes: []change{another, deleted}, taken: true},
		"phases removed at 20, live":          {weight: 20, changes: []change{unphased}},
		"phases removed at 20, Lease expired": {weight: 20, changes: []change{unphased, expired}, taken: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, r := begun(t, c.weight)
			for _, change := range c.changes {
				change(t, a, r)
			}
			before := a.VirtualService().ResourceVersion
			var calls, writes atomic.Int32
			through := []func(http.RoundTripper) http.RoundTripper{}
			if c.through != nil {
				through = append(through, c.through)
			}
			j := sweeper(t, a, &calls, &writes, through...)
			must(t, j.Sweep(t.Context()))
			if !c.taken {
				if got := a.VirtualService().ResourceVersion; got != before || writes.Load() > 0 {
					t.Errorf("%d writes to a run that is alive, want none", writes.Load())
				}
				return
			}
			must(t, j.Sweep(t.Context())) // the pods may be of another run than the record
			want := releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: a.State().Stages,
				Primary: releasetest.Image("1")}
			a.Want(want)
			writes.Store(0)
			must(t, j.Sweep(t.Context()))
			a.Want(want)
			if writes.Load() > 0 {
				t.Errorf("%d writes to an application at rest, want none", writes.Load())
			}
		})
	}
}

func TestTwoCallsForApplicationsAtRest(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	ended := time.Now().Add(-90 * time.Minute).UTC().Format(time.RFC3339)
	record := a.VirtualService().Annotations["serin.dev/run"]
	i := strings.Index(record, `"ended":"`) + len(`"ended":"`)
	record = record[:i] + ended + record[i+len(ended):]
	a.Route("test", fmt.Sprintf(`[{"op":"replace","path":"/metadata/annotations/serin.dev~1run","value":%q}]`, record))
	var calls, writes atomic.Int32
	must(t, sweeper(t, a, &calls, &writes).Sweep(t.Context()))
	if got := calls.Load(); got != 2 || writes.Load() != 0 {
		t.Errorf("%d calls, %d of them writes, want two lists", got, writes.Load())
	}
}

// TestRouteDeleted has the canary's run gone, and its VirtualService too: the target's stamp tells.
func TestRouteDeleted(t *testing.T) {
	a, r := begun(t, 20)
	a.DeleteRoute()
	var calls, writes atomic.Int32
	j := sweeper(t, a, &calls, &writes)
	must(t, j.Sweep(t.Context()))
	if got := writes.Load(); got != 0 {
		t.Errorf("%d writes while the PipelineRun is alive, want none", got)
	}
	deleted(t, a, r)
	must(t, j.Sweep(t.Context()))
	if got := *a.Deployment("podinfo").Spec.Replicas; got != 0 {
		t.Errorf("the target has %d replicas, want 0", got)
	}
	a.WantEvents("VirtualService podinfo.", "is gone: bringing run second to its end")
}
