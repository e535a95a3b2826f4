package lease_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// clock is a time that a test sets.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// Known is so at once.
func (c *clock) Known() <-chan struct{} {
	known := make(chan struct{})
	close(known)
	return known
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// at is the Lease in a namespace as a run sees it at a time, through these transports.
func at(t *testing.T, namespace, holder string, now time.Time,
	through ...func(http.RoundTripper) http.RoundTripper) lease.Lease {
	t.Helper()
	config := apitest.Config(t)
	for _, wrap := range through {
		config.Wrap(wrap)
	}
	cluster, err := kube.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return lease.Lease{
		Objects: cluster.Objects(kube.Leases, namespace),
		App:     application.Application{Namespace: namespace, Name: "podinfo"},
		Holder:  run.ID{Namespace: namespace, Name: holder, UID: "uid"}, Clock: &clock{now},
	}
}

func never(string, bool) (bool, error)           { return false, nil }
func always(string, bool) (bool, error)          { return true, nil }
func whenExpired(_ string, e bool) (bool, error) { return e, nil }

// line is who holds the Lease, since when, and when it was renewed.
func line(t *testing.T, l lease.Lease) string {
	t.Helper()
	found, err := l.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(lease.Holder(found), l.App.Namespace+"/")
	return fmt.Sprintf("%s since %s renewed %s", name, clockTime(found.Spec.AcquireTime),
		clockTime(found.Spec.RenewTime))
}

func clockTime(t *metav1.MicroTime) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format("15:04:05")
}

func TestLeaseInItsLife(t *testing.T) {
	ns := apitest.Namespace(t)
	steps := []struct {
		what string
		do   func() error
		want string
		err  string
	}{
		{"acquire", func() error { return at(t, ns, "a", noon).Acquire(t.Context(), never) },
			"a/uid since 12:00:00 renewed 12:00:00", ""},
		{"acquire again", func() error { return at(t, ns, "a", noon.Add(time.Second)).Acquire(t.Context(), never) },
			"a/uid since 12:00:00 renewed 12:00:01", ""},
		{"renew", func() error { return at(t, ns, "a", noon.Add(30*time.Second)).Renew(t.Context()) },
			"a/uid since 12:00:00 renewed 12:00:30", ""},
		{"renew again", func() error { return at(t, ns, "a", noon.Add(60*time.Second)).Renew(t.Context()) },
			"a/uid since 12:00:00 renewed 12:01:00", ""},
		{"another asks", func() error { return at(t, ns, "b", noon.Add(61*time.Second)).Acquire(t.Context(), never) },
			"a/uid since 12:00:00 renewed 12:01:00",
			"Lease serin-podinfo is held by run " + ns + "/a/uid since 2026-01-02T12:00:00Z: wait for it or cancel it"},
		{"another renews", func() error { return at(t, ns, "b", noon.Add(61*time.Second)).Renew(t.Context()) },
			"a/uid since 12:00:00 renewed 12:01:00", "writing Lease serin-podinfo"},
		{"another releases", func() error { return at(t, ns, "b", noon).Release(t.Context()) },
			"a/uid since 12:00:00 renewed 12:01:00", ""},
		{"not expired", func() error {
			return at(t, ns, "b", noon.Add(150*time.Second)).Acquire(t.Context(),
				whenExpired)
		}, "a/uid since 12:00:00 renewed 12:01:00", "held by run"},
		{"expired", func() error { return at(t, ns, "b", noon.Add(151*time.Second)).Acquire(t.Context(), whenExpired) },
			"b/uid since 12:02:31 renewed 12:02:31", ""},
		{"the old one renews", func() error { return at(t, ns, "a", noon.Add(152*time.Second)).Renew(t.Context()) },
			"b/uid since 12:02:31 renewed 12:02:31", "writing Lease"},
		{"abandoned", func() error { return at(t, ns, "c", noon.Add(153*time.Second)).Acquire(t.Context(), always) },
			"c/uid since 12:02:33 renewed 12:02:33", ""},
		{"release", func() error { return at(t, ns, "c", noon).Release(t.Context()) },
			" since 12:02:33 renewed 12:02:33", ""},
		{"release again", func() error { return at(t, ns, "c", noon).Release(t.Context()) },
			" since 12:02:33 renewed 12:02:33", ""},
		{"acquire what is free", func() error {
			return at(t, ns, "d", noon.Add(time.Hour)).Acquire(t.Context(),
				never)
		}, "d/uid since 13:00:00 renewed 13:00:00", ""},
	}
	for _, s := range steps {
		err := s.do()
		if (err == nil) != (s.err == "") || err != nil && !strings.Contains(err.Error(), s.err) {
			t.Errorf("%s: error %v, want %q in it", s.what, err, s.err)
		}
		if got := line(t, at(t, ns, "x", noon)); got != s.want {
			t.Errorf("%s: the Lease is %q, want %q", s.what, got, s.want)
		}
	}
}

func TestReleaseOfWhatIsGone(t *testing.T) {
	if err := at(t, apitest.Namespace(t), "a", noon).Release(t.Context()); err != nil {
		t.Errorf("releasing a Lease that never was: %v, want nothing", err)
	}
}

func TestStanding(t *testing.T) {
	ns := apitest.Namespace(t)
	standing := func(holder string, now time.Time) lease.Standing {
		t.Helper()
		got, err := at(t, ns, holder, now).Standing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	remove := func() {
		t.Helper()
		if err := apitest.Client(t).CoordinationV1().Leases(ns).Delete(t.Context(), "serin-podinfo",
			metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		what   string
		before func()
		holder string
		after  time.Duration
		want   lease.Standing
		line   string
	}{
		{"it was never made", nil, "a", 0, lease.Kept, "a/uid since 12:00:00 renewed 12:00:00"},
		{"at its end", nil, "a", lease.Unattended, lease.Kept, "a/uid since 12:00:00 renewed 12:00:00"},
		{"after it", nil, "a", lease.Unattended + time.Second, lease.Expired, "a/uid since 12:00:00 renewed 12:00:00"},
		{"of another", nil, "b", 0, lease.Anothers, "a/uid since 12:00:00 renewed 12:00:00"},
		{"it was deleted", remove, "a", time.Hour, lease.Kept, "a/uid since 13:00:00 renewed 13:00:00"},
		{"nobody renews it", nil, "a", time.Hour + lease.Unattended + time.Second, lease.Expired,
			"a/uid since 13:00:00 renewed 13:00:00"},
		{"it was given up", func() {
			if err := at(t, ns, "a", noon).Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, "b", 2 * time.Hour, lease.Kept, "b/uid since 14:00:00 renewed 14:00:00"},
		{"another holds it, and renews it", nil, "a", 2*time.Hour + lease.Unattended, lease.Anothers,
			"b/uid since 14:00:00 renewed 14:00:00"},
		{"another held it, and does not", nil, "a", 3 * time.Hour, lease.Kept, "a/uid since 15:00:00 renewed 15:00:00"},
	}
	for _, s := range steps {
		if s.before != nil {
			s.before()
		}
		if got := standing(s.holder, noon.Add(s.after)); got != s.want {
			t.Errorf("%s: %s, want %s", s.what, got, s.want)
		}
		if got := line(t, at(t, ns, "x", noon)); got != s.line {
			t.Errorf("%s: the Lease is %q, want %q", s.what, got, s.line)
		}
	}
}

func TestLapsed(t *testing.T) {
	ns := apitest.Namespace(t)
	lapsed := func(holder string, now time.Time) bool {
		t.Helper()
		got, err := at(t, ns, holder, now).Lapsed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if !lapsed("a", noon) {
		t.Error("a Lease that is missing has lapsed")
	}
	if err := at(t, ns, "a", noon).Acquire(t.Context(), never); err != nil {
		t.Fatal(err)
	}
	if lapsed("a", noon.Add(lease.Unattended)) || !lapsed("a", noon.Add(lease.Unattended+time.Second)) ||
		!lapsed("b", noon) {
		t.Errorf("want the holder's Lease to lapse after %s, and another's at once", lease.Unattended)
	}
}

// TestRenewedAfterItWasTaken has the Lease deleted, then taken by another run, which then gives it up.
func TestRenewedAfterItWasTaken(t *testing.T) {
	ns := apitest.Namespace(t)
	a, b := at(t, ns, "a", noon), at(t, ns, "b", noon.Add(time.Second))
	later := at(t, ns, "a", noon.Add(30*time.Second))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	remove := func() {
		must(apitest.Client(t).CoordinationV1().Leases(ns).Delete(t.Context(), "serin-podinfo", metav1.DeleteOptions{}))
	}
	must(a.Acquire(t.Context(), never))
	remove()
	must(later.Renew(t.Context()))
	if got, want := line(t, a), "a/uid since 12:00:30 renewed 12:00:30"; got != want {
		t.Errorf("a beat that finds no Lease leaves %q, want %q", got, want)
	}
	remove()
	must(b.Acquire(t.Context(), never))
	if err := later.Renew(t.Context()); err == nil {
		t.Error("a beat took the Lease from the run that holds it")
	}
	if got, want := line(t, a), "b/uid since 12:00:01 renewed 12:00:01"; got != want {
		t.Errorf("a beat leaves another's Lease as %q, want %q", got, want)
	}
	must(b.Release(t.Context()))
	must(later.Renew(t.Context()))
	if got, want := line(t, a), "a/uid since 12:00:30 renewed 12:00:30"; got != want {
		t.Errorf("after the other run gave it up a beat leaves %q, want %q", got, want)
	}
}

// TestFirstBeatWaitsForTheServersTime has an API server whose clock is five minutes off this machine's.
func TestFirstBeatWaitsForTheServersTime(t *testing.T) {
	for _, off := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
		t.Run(off.String(), func(t *testing.T) {
			config := apitest.Config(t)
			config.Wrap(releasetest.Dated(off))
			cluster, err := kube.New(config)
			if err != nil {
				t.Fatal(err)
			}
			ns := apitest.Namespace(t)
			app := application.Application{Namespace: ns, Name: "podinfo"}
			if err := at(t, ns, "a", noon).Acquire(t.Context(), never); err != nil {
				t.Fatal(err)
			}
			l := lease.Lease{Objects: cluster.Objects(kube.Leases, ns), App: app,
				Holder: run.ID{Namespace: ns, Name: "a", UID: "uid"}, Clock: cluster}
			ctx, stop := context.WithCancel(t.Context())
			var keeping sync.WaitGroup
			keeping.Go(func() { l.Keep(ctx) })
			// the step's first call
			if _, err := cluster.Objects(kube.Leases, ns).List(t.Context(), metav1.ListOptions{}); err != nil {
				t.Fatal(err)
			}
			var renewed time.Time
			apitest.Eventually(t, func(context.Context) error {
				now, err := at(t, ns, "x", noon).Get(t.Context())
				if err == nil && now.Spec.RenewTime.Time.Equal(noon) {
					err = errors.New("not renewed yet")
				}
				if err == nil {
					renewed = now.Spec.RenewTime.Time
				}
				return err
			})
			stop()
			keeping.Wait()
			if got := time.Until(renewed) - off; got.Abs() > 30*time.Second {
				t.Errorf("renewed at %s, %s off the API server's time, want none", renewed, got)
			}
		})
	}
}

func TestExpired(t *testing.T) {
	renewed, seconds := metav1.NewMicroTime(noon), int32(90)
	cases := map[string]struct {
		spec coordination.LeaseSpec
		now  time.Time
		want bool
	}{
		"fresh": {coordination.LeaseSpec{RenewTime: &renewed, LeaseDurationSeconds: &seconds}, noon, false},
		"at its end": {coordination.LeaseSpec{RenewTime: &renewed, LeaseDurationSeconds: &seconds},
			noon.Add(90 * time.Second), false},
		"after": {coordination.LeaseSpec{RenewTime: &renewed, LeaseDurationSeconds: &seconds},
			noon.Add(91 * time.Second), true},
		"never renewed":    {coordination.LeaseSpec{LeaseDurationSeconds: &seconds}, noon, true},
		"without duration": {coordination.LeaseSpec{RenewTime: &renewed}, noon, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := lease.IsExpired(&coordination.Lease{Spec: c.spec}, c.now); got != c.want {
				t.Errorf("expired: %v, want %v", got, c.want)
			}
		})
	}
}

// TestLeaseOfAnotherProgram has a holder, as somebody may write by hand, and nothing else.
func TestLeaseOfAnotherProgram(t *testing.T) {
	ns := apitest.Namespace(t)
	holder := "somebody"
	_, err := apitest.Client(t).CoordinationV1().Leases(ns).Create(t.Context(), &coordination.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "serin-podinfo"}, Spec: coordination.LeaseSpec{HolderIdentity: &holder},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = at(t, ns, "a", noon).Acquire(t.Context(), never)
	var held *lease.HeldError
	if !errors.As(err, &held) || !strings.Contains(err.Error(), "held by run somebody") {
		t.Errorf("error %v, want it to name somebody", err)
	}
	if err := at(t, ns, "a", noon).Acquire(t.Context(), whenExpired); err != nil {
		t.Errorf("a Lease that was never renewed counts as expired: %v", err)
	}
}

func TestTwoAcquirersRace(t *testing.T) {
	cases := map[string]func(t *testing.T, ns string){
		"for a Lease to make": func(*testing.T, string) {},
		"for a free one": func(t *testing.T, ns string) {
			if err := errors.Join(at(t, ns, "z", noon).Acquire(t.Context(), never),
				at(t, ns, "z", noon).Release(t.Context())); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, arrange := range cases {
		t.Run(name, func(t *testing.T) {
			ns := apitest.Namespace(t)
			arrange(t, ns)
			var reached sync.WaitGroup
			reached.Add(2)
			results := make(chan error, 2)
			for _, holder := range []string{"a", "b"} {
				var once sync.Once
				l := at(t, ns, holder, noon, releasetest.Before(func(r *http.Request) error {
					if releasetest.Writes(r) {
						once.Do(func() { reached.Done(); reached.Wait() }) // both have read that it is free
					}
					return nil
				}))
				go func() { results <- l.Acquire(t.Context(), never) }()
			}
			lost := errors.Join(<-results, <-results)
			var held *lease.HeldError
			found, err := at(t, ns, "x", noon).Get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !errors.As(lost, &held) || held.Holder != lease.Holder(found) ||
				strings.Count(lost.Error(), "is held by") != 1 {
				t.Errorf("errors %v, holder %s, want one refused in favour of the other", lost, lease.Holder(found))
			}
		})
	}
}

func TestLostAnswersOfALease(t *testing.T) {
	ns := apitest.Namespace(t)
	if err := at(t, ns, "a", noon, releasetest.Losing()).Acquire(t.Context(), never); err != nil {
		t.Errorf("making it: %v", err)
	}
	if err := at(t, ns, "a", noon, releasetest.Losing()).Acquire(t.Context(), never); err != nil {
		t.Errorf("renewing it: %v", err)
	}
	if err := at(t, ns, "a", noon, releasetest.Losing()).Release(t.Context()); err != nil {
		t.Errorf("releasing it: %v", err)
	}
	if got, want := line(t, at(t, ns, "x", noon)), " since 12:00:00 renewed 12:00:00"; got != want {
		t.Errorf("the Lease is %q, want %q", got, want)
	}
}

func TestKeepBeatsAtOnceAndEnds(t *testing.T) {
	ns := apitest.Namespace(t)
	if err := at(t, ns, "a", noon).Acquire(t.Context(), never); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		at(t, ns, "a", noon.Add(time.Minute)).Keep(ctx)
	}()
	apitest.Eventually(t, func(context.Context) error {
		if got, want := line(t, at(t, ns, "x", noon)), "a/uid since 12:00:00 renewed 12:01:00"; got != want {
			return fmt.Errorf("the Lease is %q, want %q", got, want)
		}
		return nil
	})
	patch := []byte(`[{"op":"remove","path":"/spec/holderIdentity"}]`)
	if _, err := apitest.Client(t).CoordinationV1().Leases(ns).Patch(t.Context(), "serin-podinfo", types.JSONPatchType,
		patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-ended
}
