// Package prepare brings an application to its place of rest and starts the canary of a new revision.
package prepare

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"

	"github.com/serin-cd/serin/pkg/release"
)

// Proceed is the outcome of a preparation whose canary is ready to be judged.
const Proceed run.Outcome = "proceed"

// Config says what a run wants prepared.
type Config struct {
	// What acquire-lease has set as its result turn: superseded leaves the application alone.
	Turn Turn `env:"TURN"`
	// What to do while another run has the application.
	OnBusy Busy `env:"ON_BUSY, default=fail"`
	// Image to release; empty takes the Deployment as it is.
	Image string `env:"IMAGE"`
	// Container that gets the image; needed where the pod has several.
	Container string `env:"CONTAINER"`
	// Hosts of the VirtualService where it has to be made, separated by commas; the application's name is added.
	Hosts []string `env:"HOSTS"`
	// Gateways of the VirtualService where it has to be made, separated by commas; mesh stands for all sidecars.
	Gateways []string `env:"GATEWAYS, default=mesh"`
	// Port of the Services where the application has none of its own.
	Port parameter.Count `env:"PORT, default=80"`
}

// Preparation is a configuration with what its step knows besides.
type Preparation struct {
	Config
	Deadline time.Duration // for pods to become ready
	// Probe asks Prometheus once, before anything is changed.
	Probe func(ctx context.Context) error
}

// Step is Run for a program: it keeps the Lease, and leaves the application alone if it is not the run's turn.
func Step(ctx context.Context, r *release.Release, c Config, s release.Settling, rules judge.Config) (run.Outcome, string, error) {
	if c.Turn == Superseded {
		return run.Superseded, "none", nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*s.Deadline()+2*time.Minute)
	defer cancel()
	probe, err := prober(r.App, rules, s.Prometheus)
	if err != nil {
		return "", "", err
	}
	go r.Lease.KeepOn(ctx)
	return Run(ctx, r, Preparation{Config: c, Deadline: s.Deadline(), Probe: probe})
}

// found is what there was before anything was changed.
type found struct {
	target  *workload.Deployment
	primary *workload.Deployment // nil before the first release
	state   *weight.State        // nil where there is no VirtualService
	copied  workload.Copy
}

// record is the record of the last or present run, nil for none.
func (f found) record() *record.Record {
	if f.state == nil {
		return nil
	}
	return f.state.Record
}

// first says whether the application was never released: no run has ended with an outcome, or the
// primary is gone. Where the record itself is gone the target's stamp tells, which it gets at the end of
// the first release: a record that somebody deleted must not let a revision pass unjudged.
func (f found) first() bool {
	rec := f.record()
	switch {
	case f.primary == nil || f.primary.Promoted() == "":
		return true
	case rec == nil:
		return f.target.Stamp() == ""
	}
	return rec.Previous == "" && rec.Outcome == run.Unfinished
}

// Run prepares a release and returns initialized, unchanged or proceed, and the target's revision.
func Run(ctx context.Context, r *release.Release, p Preparation) (outcome run.Outcome, revision string, err error) {
	f, err := look(ctx, r, p)
	if err != nil {
		return "", "", err
	}
	if err := p.Probe(ctx); err != nil {
		return "", "", err
	}
	if f, err = free(ctx, r, p, f); err != nil {
		return "", "", err
	}
	if p.Image != "" {
		if f.target, err = setImage(ctx, r, p); err != nil {
			return "", "", err
		}
	}
	r.Events.UID = f.target.UID
	revision = f.target.Revision()
	if f.first() {
		return run.Initialized, revision, first(ctx, r, p, f)
	}
	if f.primary.Promoted() == revision {
		return run.Unchanged, revision, rest(ctx, r, p, f, true)
	}
	if err := rest(ctx, r, p, f, false); err != nil {
		return "", revision, err
	}
	return Proceed, revision, start(ctx, r, p, f, revision)
}

// look reads everything and refuses what cannot be released; it changes nothing.
func look(ctx context.Context, r *release.Release, p Preparation) (f found, err error) {
	if f.target, err = r.Target(ctx); err != nil {
		return f, err
	}
	if f.target.Spec.Strategy.Type == "Recreate" {
		return f, failure.Configf("reading Deployment %s: strategy Recreate would empty the primary at each promotion, want RollingUpdate", r.App)
	}
	if _, err := workload.SetImage(f.target, p.Container, p.Image); err != nil {
		return f, err
	}
	if f.copied, err = workload.CopyOf(f.target); err != nil {
		return f, err
	}
	if f.primary, err = r.Deployments.Get(ctx, r.App.Primary()); err != nil {
		return f, err
	}
	if err := f.copied.Clash(f.target, f.primary); err != nil {
		return f, err
	}
	state, err := r.Fence.Read(ctx)
	if err != nil && !apierrors.IsNotFound(err) {
		return f, err
	}
	if err == nil {
		f.state = &state
	}
	if f.first() && !serves(f.target) && !serves(f.primary) && f.target.Wanted() > 0 {
		started, err := r.Deployments.WaitReady(ctx, r.App.Name, p.Deadline, nil) // applied a moment ago, perhaps
		if late := (*workload.NotReadyError)(nil); err != nil && !errors.As(err, &late) {
			return f, err
		}
		if started != nil {
			f.target = started
		}
	}
	if f.first() && !serves(f.target) && !serves(f.primary) {
		return f, failure.Configf("releasing %s for the first time: the target has no ready replicas (%s), want at least 1: scale it up and let it become ready",
			r.App, f.target.Progress())
	}
	return f, nil
}

func serves(d *workload.Deployment) bool { return d != nil && d.Status.ReadyReplicas > 0 }

// free makes sure that no other run has the application, and takes back one that was abandoned.
func free(ctx context.Context, r *release.Release, p Preparation, f found) (found, error) {
	if f.state != nil && f.state.Damage() != "" {
		left, err := damaged(ctx, r, p, *f.state)
		if err != nil {
			return f, err
		}
		if left {
			return look(ctx, r, p)
		}
	}
	rec := f.record()
	if !rec.Open() || rec.ID == r.ID {
		return f, nil
	}
	abandoned, err := rollback.Abandoned(ctx, r, *f.state, p.Deadline)
	if err != nil {
		return f, fmt.Errorf("taking back the abandoned run %s: %w", rec.ID.Name, err)
	}
	if !abandoned && p.OnBusy == Supersede && newer(ctx, r, rec.ID) {
		if err := rollback.Supersede(ctx, r, rec, p.Deadline); err != nil {
			return f, fmt.Errorf("superseding run %s: %w", rec.ID.Name, err)
		}
		return look(ctx, r, p)
	}
	if !abandoned {
		return f, fmt.Errorf("preparing %s: %w", r.App, &record.BusyError{Holder: *rec})
	}
	return look(ctx, r, p)
}

// damaged takes back the run that the target's stamp names, where the record is not to be relied upon, and says whether it did. Of one that
// is alive, with traffic, it is an error.
func damaged(ctx context.Context, r *release.Release, p Preparation, state weight.State) (bool, error) {
	owner, err := rollback.Owner(ctx, r.Cluster, r.App, state)
	if errors.Is(err, failure.ErrConfig) || err == nil && owner.ID == r.ID {
		return false, nil // nobody's, or this run was here before
	}
	if err != nil {
		return false, err
	}
	owner.Drain = r.Drain
	left, err := rollback.Left(ctx, owner, state, p.Deadline)
	if err != nil {
		return left, fmt.Errorf("taking back run %s: %w", owner.ID.Name, err)
	}
	if !left && state.Weight() > 0 {
		return false, fmt.Errorf("preparing %s: the canary has %d %%, its pods are those of PipelineRun %s/%s, which is alive, and %s: wait for it or cancel it",
			r.App, state.Weight(), owner.ID.Namespace, owner.ID.Name, state.Damage())
	}
	return left, nil
}

// newer says whether this run was made after another, as far as can be read.
func newer(ctx context.Context, r *release.Release, other run.ID) bool {
	mine, _ := r.Created(ctx, r.ID)
	theirs, _ := r.Created(ctx, other)
	return lease.Place{Run: r.ID, Created: mine}.Newer(lease.Place{Run: other, Created: theirs})
}

func setImage(ctx context.Context, r *release.Release, p Preparation) (*workload.Deployment, error) {
	target, err := r.Deployments.Update(ctx, r.App.Name, func(d *workload.Deployment) ([]kube.Operation, error) {
		return workload.SetImage(d, p.Container, p.Image)
	})
	if err == nil && target == nil {
		return nil, failure.Configf("preparing %s: the target was deleted", r.App)
	}
	return target, err
}

// rest re-establishes the place of rest: traffic to the primary, and the target at 0 unless a release is due.
func rest(ctx context.Context, r *release.Release, p Preparation, f found, settle bool) error {
	if err := routing(ctx, r, p, f); err != nil {
		return err
	}
	if f.state != nil && f.state.Weight() > 0 && !f.record().Open() {
		if _, err := r.Fence.Rest(ctx); err != nil {
			return err
		}
	}
	writer, err := r.Services.Rest(ctx, f.target, f.copied.Selector(f.primary), int32(p.Port))
	if err != nil {
		return err
	}
	if writer != "" {
		r.Events.Warningf(ctx, "Service %s pointed at the primary again: %s had changed it", r.App, writer)
	}
	if !settle || f.target.Wanted() == 0 {
		return nil
	}
	slog.Info("target at work without a run", "deployment", r.App.String(), "replicas", f.target.Wanted(), "writer", kube.Writer(f.target, "replicas"))
	r.Events.Warningf(ctx, "Scaling down %s: %s had scaled it up, and its revision serves already", r.App, kube.Writer(f.target, "replicas"))
	return r.SettleTarget(ctx, f.target)
}

// routing makes what is missing of an application that was released before, where its VirtualService is: to ask for the DestinationRules
// at each run would cost two calls.
func routing(ctx context.Context, r *release.Release, p Preparation, f found) error {
	if f.state != nil {
		return nil
	}
	made, err := r.Routing.EnsureDestinationRules(ctx)
	if err != nil {
		return err
	}
	for _, name := range made {
		r.Events.Warningf(ctx, "DestinationRule %s was missing, and was made again", name)
	}
	if err := r.Routing.CreateVirtualService(ctx, p.Hosts, p.Gateways, ""); err != nil {
		return err
	}
	r.Events.Warningf(ctx, "VirtualService %s was missing, and was made again, with all traffic to the primary", r.App.Name)
	return nil
}

// start records the run, stamps the target, scales it up and waits until it is ready.
func start(ctx context.Context, r *release.Release, p Preparation, f found, revision string) error {
	store := r.Fence
	if f.state != nil && f.state.Weight() == 0 {
		store = store.From(*f.state)
	}
	state, err := store.Open(ctx, r.ID, revision, f.primary.Promoted(), r.Cluster)
	if err != nil {
		return fmt.Errorf("preparing %s: %w", r.App, err)
	}
	if state.Record.Phase != run.Preparing {
		return nil // this run was here before
	}
	r.Events.Normalf(ctx, "New revision detected! Scaling up %s", r.App)
	if err := scaleUp(ctx, r, p, f); err != nil {
		return r.TakeBack(ctx, err)
	}
	if err := ready(ctx, r, p, revision); err != nil {
		return r.TakeBack(ctx, err)
	}
	r.Events.Normalf(ctx, "Starting canary analysis for %s", r.App)
	return nil
}

// scaleUp stamps the target and gives it pods, once those of a run that was taken back just now are gone.
func scaleUp(ctx context.Context, r *release.Release, p Preparation, f found) error {
	if f.target.Wanted() == 0 && f.target.Status.Replicas > 0 {
		if err := r.Deployments.WaitGone(ctx, r.App.Name, p.Deadline); err != nil {
			return err
		}
	}
	target, err := r.Deployments.From(f.target).Update(ctx, r.App.Name, func(d *workload.Deployment) ([]kube.Operation, error) {
		if d.StampedBy(r.ID) && d.Wanted() > 0 {
			return nil, nil
		}
		replicas := d.Wanted()
		if replicas == 0 {
			replicas = max(f.primary.Wanted(), 1)
		}
		// Always written: whoever settles the run before may have scaled down since, under the same stamp.
		return append(workload.Stamp(d, r.ID), workload.Scale(replicas)), nil
	})
	if err == nil && target == nil {
		return failure.Configf("preparing %s: the target was deleted", r.App)
	}
	return err
}

// ready waits for the canary; a revision that does not start is rejected, one that changes meanwhile was never looked at.
func ready(ctx context.Context, r *release.Release, p Preparation, revision string) error {
	_, err := r.Deployments.WaitReady(ctx, r.App.Name, p.Deadline, func(d *workload.Deployment) error {
		if got := d.Revision(); got != revision {
			return failure.Inconclusivef("preparing %s: the target changed from revision %s to %s: start a run for the new one", r.App, workload.Short(revision), workload.Short(got))
		}
		if d.Wanted() == 0 {
			return failure.Inconclusivef("preparing %s: its target was scaled to 0: the run was taken back, or %s did it", r.App, kube.Writer(d, "replicas"))
		}
		return nil
	})
	var late *workload.NotReadyError
	if errors.As(err, &late) {
		return failure.Rejectedf("preparing %s: %w: no traffic was shifted", r.App, err)
	}
	return err
}
