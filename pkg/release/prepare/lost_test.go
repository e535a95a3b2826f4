package prepare_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/run"
)

// TestRoutingThatIsMissing deletes what the first release has made, and wants the next run to make it again.
func TestRoutingThatIsMissing(t *testing.T) {
	for name, push := range map[string]bool{"a new version": true, "the same version": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			a.First()
			a.DeleteRoute()
			rules := a.Cluster.DestinationRules(a.Namespace)
			for _, rule := range []string{"podinfo-primary", "podinfo-canary"} {
				must(t, rules.Delete(t.Context(), rule, metav1.DeleteOptions{}))
			}
			want, state := run.Unchanged, releasetest.State{Primary: releasetest.Image("1")}
			if push {
				a.Push("2")
				want, state.Phase, state.Target = prepare.Proceed, run.Preparing, 2
			}
			r := a.Run("next")
			outcome, err := a.Prepare(r)
			if err != nil || outcome != want {
				t.Errorf("outcome %q (%v), want %q", outcome, err, want)
			}
			a.Want(state)
			vs := a.VirtualService()
			if diff := cmp.Diff([][]string{{"podinfo.test", "podinfo"}, {"public"}},
				[][]string{vs.Spec.Hosts, vs.Spec.Gateways}); diff != "" {
				t.Errorf("hosts and gateways (-want +got):\n%s", diff)
			}
			for _, rule := range []string{"podinfo-primary", "podinfo-canary"} {
				if _, err := rules.Get(t.Context(), rule, metav1.GetOptions{}); err != nil {
					t.Errorf("DestinationRule %s: %v", rule, err)
				}
			}
			a.WantEvents("DestinationRule podinfo-primary was missing, and was made again",
				"DestinationRule podinfo-canary was missing",
				"VirtualService podinfo was missing, and was made again, with all traffic to the primary")
			if push {
				must(t, stage.Shift(t.Context(), r, 20, time.Minute))
			}
			a.MustBeServed()
		})
	}
}

// TestRecordThatTellsNothing has a run leave traffic, or half a promotion, and its record made nonsense.
func TestRecordThatTellsNothing(t *testing.T) {
	nonsense := map[string]string{
		"not JSON":      "?",
		"id of another": `{"id":"shop/other/uid","phase":"shifting","phases":[{"weight":40,"at":"2026-11-23T12:00:00Z"}]}`,
	}
	for name, text := range nonsense {
		for _, half := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", promoting"}[half], func(t *testing.T) {
				t.Parallel()
				a := releasetest.New(t)
				a.First()
				a.Push("2")
				left := a.PipelineRun("left")
				_, err := a.Prepare(left)
				must(t, err)
				must(t, stage.Shift(t.Context(), left, 40, time.Minute))
				if half {
					a.UnreadyPrimary("2")
					killed := &releasetest.Process{Writes: 2} // the record is promoting, the primary is at version 2
					if _, err := promote.Run(t.Context(), a.PipelineRun("left", killed.Through),
						time.Second); err == nil {
						t.Fatal("promoted, want it killed")
					}
				}
				a.Record("kubectl-edit", text)
				a.Push("3")
				if _, err := a.Prepare(a.Run("next")); err == nil ||
					!strings.Contains(err.Error(), "/left, which is alive, and ") ||
					!strings.Contains(err.Error(), "kubectl-edit wrote it") {
					t.Errorf("while the run is alive: %v, want it named, and who wrote the record", err)
				}
				a.Finish("left")
				outcome, err := a.Prepare(a.Run("next"))
				if err != nil || outcome != prepare.Proceed {
					t.Errorf("outcome %q (%v), want %q", outcome, err, prepare.Proceed)
				}
				a.Want(releasetest.State{Phase: run.Preparing, Target: 2, Primary: releasetest.Image("1")})
			})
		}
	}
}
