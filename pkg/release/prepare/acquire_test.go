package prepare_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// turn is how acquiring ended.
type turn struct {
	superseded bool
	err        error
}

func acquire(t *testing.T, r *release.Release, on prepare.Busy) <-chan turn {
	done := make(chan turn, 1)
	go func() {
		queue := prepare.Queue{OnBusy: on, BusyTimeout: parameter.Duration(time.Minute)}
		told, err := prepare.Acquire(t.Context(), r, queue)
		done <- turn{told == prepare.Superseded, err}
	}()
	return done
}

// holder is the run that has the Lease, and the one that waits for it.
func holder(t *testing.T, r *release.Release) (name, waits string) {
	t.Helper()
	now, err := r.Lease.Get(t.Context())
	must(t, err)
	id, _ := run.ParseID(lease.Holder(now))
	return id.Name, now.Annotations["serin.dev/waiting"]
}

func eventually(t *testing.T, r *release.Release, name, waits string) {
	t.Helper()
	apitest.Eventually(t, func(context.Context) error {
		got, first := holder(t, r)
		if got != name || waits == "" && first != "" || !strings.Contains(first, "/"+waits) && waits != "" {
			return errors.New("held by " + got + ", waited for by " + first + ", want " + name + " and " + waits)
		}
		return nil
	})
}

// Runs that are made within a second are ordered by their names.
func TestTheNewestWaiterStays(t *testing.T) {
	a := releasetest.New(t, onePod)
	first, second, third := a.PipelineRun("a"), a.PipelineRun("b"), a.PipelineRun("c")
	if got := <-acquire(t, first, prepare.Wait); got != (turn{}) {
		t.Fatalf("a free Lease: %+v", got)
	}
	if got := <-acquire(t, second, prepare.Fail); got.err == nil || !strings.Contains(got.err.Error(), "/a/") ||
		!strings.Contains(got.err.Error(), "since 2") {
		t.Errorf("fail: %v, want the holder and since when", got.err)
	}
	b := acquire(t, second, prepare.Wait)
	eventually(t, first, "a", "b")
	c := acquire(t, third, prepare.Wait)
	if got := <-b; !got.superseded || got.err != nil {
		t.Errorf("the older waiter: %+v, want it superseded", got)
	}
	eventually(t, first, "a", "c")
	if got := <-acquire(t, second, prepare.Wait); !got.superseded {
		t.Errorf("an older one that comes later: %+v, want it superseded", got)
	}
	must(t, first.Lease.Release(t.Context()))
	if got := <-c; got != (turn{}) {
		t.Errorf("the newest: %+v, want its turn", got)
	}
	eventually(t, first, "c", "")
	for _, on := range []prepare.Busy{prepare.Wait, prepare.Supersede} {
		if got := <-acquire(t, first, on); !got.superseded || got.err != nil {
			t.Errorf("%s while a newer one is at work: %+v, want it superseded", on, got)
		}
	}
	for r, want := range map[*release.Release]run.Outcome{second: run.Superseded, third: run.Unchanged} {
		if got, _ := rollback.Outcome(t.Context(), r, nil, true); got != want {
			t.Errorf("finish of %s says %s, want %s", r.ID.Name, got, want)
		}
	}
}

func TestNobodyWaitsForARunThatIsGone(t *testing.T) {
	a := releasetest.New(t, onePod)
	second := a.PipelineRun("b")
	gone := a.Run("z") // has no PipelineRun
	must(t, gone.Lease.Acquire(t.Context(), nil))
	if got := <-acquire(t, second, prepare.Wait); got != (turn{}) {
		t.Errorf("the holder is gone: %+v, want its turn", got)
	}
	third, briefly := a.PipelineRun("c"), prepare.Queue{OnBusy: prepare.Wait,
		BusyTimeout: parameter.Duration(2 * time.Second)}
	if _, err := prepare.Acquire(t.Context(), third, briefly); err == nil ||
		!strings.Contains(err.Error(), "waited 2s") || !strings.Contains(err.Error(), "/b/") {
		t.Errorf("waiting for too long: %v, want for how long, and who has it", err)
	}
}

func TestSupersede(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	a.Push("2")
	older, newer := a.PipelineRun("a"), a.PipelineRun("b")
	_, err := prepare.Acquire(t.Context(), older, prepare.Queue{OnBusy: prepare.Fail})
	must(t, err)
	_, err = a.Prepare(older)
	must(t, err)
	must(t, stage.Shift(t.Context(), older, 40, time.Minute))
	a.Push("3")
	if got := <-acquire(t, newer, prepare.Supersede); got != (turn{}) {
		t.Fatalf("superseding: %+v, want its turn", got)
	}
	p := releasetest.Preparation()
	p.OnBusy = prepare.Supersede
	outcome, _, err := prepare.Run(t.Context(), newer, p)
	must(t, err)
	if outcome != prepare.Proceed {
		t.Errorf("outcome %q, want %q", outcome, prepare.Proceed)
	}
	a.Want(releasetest.State{Phase: run.Preparing, Target: 2, Primary: releasetest.Image("1")})
	if err := stage.Shift(t.Context(), older, 60, time.Minute); !errors.Is(err, record.ErrFenced) {
		t.Errorf("the older run's next stage: %v, want it fenced", err)
	}
	rec, err := rollback.Run(t.Context(), older, older.ID, "none", time.Second)
	must(t, err)
	if got, _ := rollback.Outcome(t.Context(), older, rec, true); got != run.Superseded {
		t.Errorf("the older run's finish says %s, want superseded", got)
	}
	a.Want(releasetest.State{Phase: run.Preparing, Target: 2, Primary: releasetest.Image("1")})
	must(t, stage.Shift(t.Context(), newer, 20, time.Minute))
}

func onePod(d *appsv1.Deployment) { *d.Spec.Replicas = 1 }
