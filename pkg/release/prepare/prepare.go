// Package prepare brings an application to rest and starts the canary of a new revision.
package prepare

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/cluster/disruption"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Proceed is the outcome of a preparation whose canary is ready to be judged.
const Proceed run.Outcome = "proceed"

// Promote is the outcome of a preparation whose canary is ready to be promoted without analysis.
const Promote run.Outcome = "promote"

// longestReason is how many bytes the reason for leaving out the analysis may have: the record keeps it.
const longestReason = 512

// Config says what a run wants prepared.
type Config struct {
	// Result turn of acquire-lease: superseded leaves the application alone.
	Turn Turn `env:"TURN"`
	// What the run does if another run has the application: fail, wait or supersede.
	OnBusy Busy `env:"ON_BUSY, default=fail"`
	// Image to set on the Deployment first. Empty releases the Deployment as it is, which fits Helm and GitOps.
	Image parameter.Image `env:"IMAGE"`
	// Container that gets the image. Needed only if the pod has several.
	Container string `env:"CONTAINER"`
	// Revision to go back to: its first digits, at least 6, or previous for the one that the primary ran before. The
	// Deployment gets the pod template that one of its ReplicaSets has kept of it. Empty releases the Deployment as it
	// is.
	ToRevision string `env:"TO_REVISION"`
	// Who wants a release without analysis, and why, for the record: the revision is then promoted as soon as its pods
	// are ready, and the canary gets no traffic. Empty judges it. Use it to go back, or for an urgent fix.
	SkipAnalysis string `env:"SKIP_ANALYSIS"`
	// Hosts of the VirtualService, separated by commas; the application's name is always added. Used only if the
	// VirtualService has to be made.
	Hosts []string `env:"HOSTS"`
	// Gateways of the VirtualService, as NAMESPACE/NAME, separated by commas; mesh stands for all sidecars. Used only
	// if the VirtualService has to be made. Add yours if callers come from outside the mesh.
	Gateways []string `env:"GATEWAYS, default=mesh"`
	// Port of the application's Service that requests go to. Empty takes its first HTTP port, and 80 for a Service that
	// Serin makes. Used only for what Serin makes. Needed if gateways have to send to another of several ports.
	Port       parameter.Port `env:"PORT"`
	Metadata   application.Metadata
	Autoscaler autoscaler.Config
}

// Check refuses values that no run can have.
func (c Config) Check() error {
	if n := len(c.SkipAnalysis); n > longestReason {
		return failure.Configf("reading skip-analysis: %d bytes, want at most %d", n, longestReason)
	}
	if c.ToRevision != "" && c.Image != "" {
		return failure.Configf("reading to-revision: %q, and image is %q: want one of them", c.ToRevision, c.Image)
	}
	if c.ToRevision != "" && c.ToRevision != Previous && !workload.Digits(c.ToRevision) {
		return failure.Configf("reading to-revision: %q, want previous, or at least %d hex digits", c.ToRevision,
			workload.FewestDigits)
	}
	return nil
}

// Preparation is a configuration with what its step knows besides.
type Preparation struct {
	Config
	Deadline time.Duration // for pods to become ready
	Learn    time.Duration // for proxies to learn of a Service
	// Probe asks Prometheus once, before anything is changed.
	Probe func(ctx context.Context) error
}

// Step is Run for a program: it keeps the Lease, and leaves the application alone if it is not the run's turn.
func Step(ctx context.Context, r *release.Release, c Config, s release.Settling, rules judge.Config) (run.Outcome,
	string, error) {
	if c.Turn == Superseded {
		return run.Superseded, "none", nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	probe, err := prober(r.App, rules, s.Prometheus)
	if err != nil {
		return "", "", err
	}
	if c.SkipAnalysis != "" {
		probe = func(context.Context) error { return nil }
	}
	r.Take(c.Metadata)
	r.Autoscalers.Bounds = c.Autoscaler.Bounds
	go r.Lease.KeepOn(ctx)
	return Run(ctx, r, Preparation{Config: c, Deadline: s.Deadline(), Learn: time.Duration(s.Drain), Probe: probe})
}

// found is what there was before anything was changed.
type found struct {
	target  *workload.Deployment
	primary *workload.Deployment // nil before the first release
	state   *weight.State        // nil where there is no VirtualService
	// the other VirtualServices whose routes are shifted
	followers map[string]weight.State
	unshifted []string                   // VirtualServices that lead to the application and are not selected
	taken     error                      // why no VirtualService can be made where there is none
	apex      *unstructured.Unstructured // the Service of the application itself, nil where there is none
	copied    workload.Copy
	scaled    autoscaler.Found
	budget    disruption.Found // before the first release
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

// Run prepares a release and returns initialized, unchanged, proceed or promote, and the target's revision.
func Run(ctx context.Context, r *release.Release, p Preparation) (outcome run.Outcome, revision string, err error) {
	if err := p.Check(); err != nil {
		return "", "", err
	}
	f, err := look(ctx, r, p)
	if err != nil {
		return "", "", err
	}
	if err := rehearse(ctx, r, p, f); err != nil {
		return "", "", err
	}
	back, err := earlier(ctx, r, p, f)
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
			return "", "", against(err)
		}
	}
	if back != nil {
		if f, err = revert(ctx, r, p, f, *back); err != nil {
			return "", "", against(err)
		}
	}
	r.Events.UID = f.target.UID
	revision = f.target.Revision()
	if f.first() {
		return run.Initialized, revision, first(ctx, r, p, f)
	}
	if f.primary.Promoted() == revision {
		return run.Unchanged, revision, rest(ctx, r, p, &f, true)
	}
	if err := rest(ctx, r, p, &f, false); err != nil {
		return "", revision, err
	}
	err = start(ctx, r, p, f, revision)
	if errors.Is(err, weight.ErrChanged) {
		return Run(ctx, r, p)
	}
	if p.SkipAnalysis != "" {
		return Promote, revision, err
	}
	return Proceed, revision, err
}

// Examine is an error where Run would refuse a release, and tells the reservations about one. It changes nothing.
func Examine(ctx context.Context, r *release.Release, p Preparation) ([]Reservation, error) {
	f, err := look(ctx, r, p)
	if err != nil {
		return nil, err
	}
	looks := []func(context.Context, *release.Release, found) ([]Reservation, error){reservations, shared}
	if !f.first() {
		looks = append(looks, later)
	}
	var all []Reservation
	for _, look := range looks {
		found, err := look(ctx, r, f)
		if err != nil {
			return all, err
		}
		all = append(all, found...)
	}
	return all, rehearse(ctx, r, p, f)
}

// look reads everything and refuses what cannot be released; it changes nothing.
func look(ctx context.Context, r *release.Release, p Preparation) (f found, err error) {
	// the routes first: a run that promotes after that has to change them, and this one is then opened on none
	if err = lookAtRoutes(ctx, r, p, &f); err != nil {
		return f, err
	}
	if f.target, err = r.Target(ctx); err != nil {
		return f, err
	}
	if f.primary, err = r.Deployments.Get(ctx, r.App.Primary()); err != nil {
		return f, err
	}
	if f.apex, err = r.Services.Apex(ctx); err != nil {
		return f, err
	}
	f.scaled, err = r.Autoscalers.Find(ctx, p.Autoscaler.Autoscaler, f.target.Autoscaler())
	if err != nil && !errors.Is(err, failure.ErrConfig) {
		return f, err
	}
	if f.copied, err = admit(r.App, p, f.target, f.primary, err); err != nil {
		return f, err
	}
	if f.taken != nil {
		return f, f.taken
	}
	if err := f.unjudged(r.App, p); err != nil {
		return f, err
	}
	if !f.first() {
		if err := r.Services.Follows(ctx, f.apex, f.primary, f.target); err != nil {
			return f, err
		}
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
	if f.first() {
		if f.budget, err = r.Budgets.Find(ctx, f.target, f.copied); err != nil {
			return f, err
		}
	}
	if f.first() && !serves(f.target) && !serves(f.primary) {
		return f,
			failure.Configf("releasing %s for the first time: the target has no ready replicas (%s), want at least "+
				"1: scale it up and let it become ready",
				r.App, f.target.Progress())
	}
	return f, nil
}

// unjudged refuses an image that everybody would get at once: before the first release there is no primary that goes
// on serving, and the target's pods serve.
func (f found) unjudged(app application.Application, p Preparation) error {
	if !f.first() {
		return nil
	}
	ops, err := workload.SetImage(f.target, p.Container, string(p.Image))
	if err != nil || len(ops) == 0 {
		return err
	}
	return failure.Configf("releasing %s for the first time: image %s is not the one that Deployment %s runs, and "+
		"everybody would get it unjudged: start a run without an image, which makes the primary, then one with it",
		app, p.Image, app.Name)
}

func serves(d *workload.Deployment) bool { return d != nil && d.Status.ReadyReplicas > 0 }

func setImage(ctx context.Context, r *release.Release, p Preparation) (*workload.Deployment, error) {
	return edit(ctx, r, r.Deployments, func(d *workload.Deployment) ([]kube.Operation, error) {
		return workload.SetImage(d, p.Container, string(p.Image))
	})
}

// edit writes the target; one that is gone is an error of configuration.
func edit(ctx context.Context, r *release.Release, deployments workload.Deployments,
	decide func(*workload.Deployment) ([]kube.Operation, error)) (*workload.Deployment, error) {
	target, err := deployments.Update(ctx, r.App.Name, decide)
	if err == nil && target == nil {
		return nil, failure.Configf("preparing %s: the target was deleted", r.App)
	}
	return target, err
}
