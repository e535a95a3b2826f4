package weight

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// virtualServices is all that a store asks of Istio; the generated client has it as it is.
type virtualServices interface {
	Create(context.Context, *networking.VirtualService, metav1.CreateOptions) (*networking.VirtualService, error)
	Get(context.Context, string, metav1.GetOptions) (*networking.VirtualService, error)
	List(context.Context, metav1.ListOptions) (*networking.VirtualServiceList, error)
	Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (*networking.VirtualService,
		error)
}

// Fence reads and writes an application's record and weights. The record stands on the first VirtualService of the
// selection; see followers.go for the others.
type Fence struct {
	App             application.Application
	VirtualServices virtualServices
	Selection       mesh.Selection
	Mode            kube.Mode // whether writes count

	since    *State
	inherits bool   // a run that begins takes pods over
	unjudged string // why a run that begins needs no stage
	taking   bool   // routes that go to the application's own Service are taken over
	giving   bool   // routes are led to the application's own Service again
	known    *State
	last     *record.Record
	decision verdict.Decision
	follower string           // the VirtualService that is read and written, if not the first
	seen     map[string]State // of followers, as they were read a moment ago
}

// name is the VirtualService that is read and written.
func (f Fence) name() string {
	if f.follower != "" {
		return f.follower
	}
	return f.Selection.First(f.App)
}

// From is a store whose next update begins with a state that was read a moment ago, which saves a call.
// Had it changed since, the update would begin anew.
func (f Fence) From(state State) Fence {
	f.known = &state
	return f
}

// Remembering is a store that goes by a run's record as it last was where the VirtualService has none, one that cannot
// be read, or one that somebody else than Serin wrote.
func (f Fence) Remembering(last *record.Record) Fence {
	f.last = last
	return f
}

// Judged is a store that closes a run because of a verdict, which the record then tells.
func (f Fence) Judged(decision verdict.Decision) Fence {
	f.decision = decision
	return f
}

// Recall is a state with the record that the store remembers, where that of the state is not to be relied upon.
func (f Fence) Recall(now State) State {
	if f.last != nil && (now.Record == nil || now.Damage() != "") {
		now.Record = f.last
	}
	return now
}

// recordPath is where the record stands in a VirtualService.
var recordPath = []string{"metadata", "annotations", application.RunAnnotation}

// State is a VirtualService at one moment.
type State struct {
	VirtualService *networking.VirtualService
	Record         *record.Record // nil where there is none, or none that can be read
	Broken         error          // why the annotation cannot be read as a record
	Splits         mesh.Splits    // that a run shifts
	Left           mesh.Splits    // that have primary and canary too, and that it leaves

	damage string
}

// Weight is the canary's share in the route, in percent.
func (s State) Weight() parameter.Weight { return s.Splits.Weight() }

// Writer names who wrote the VirtualService's routes last, for messages.
func (s State) Writer() string {
	if s.VirtualService == nil {
		return "nobody"
	}
	return kube.Writer(s.VirtualService, "spec", "http")
}

// Damage says what is wrong with the record, and who wrote it: it cannot be read, or is not Serin's. It is empty where
// nothing is.
func (s State) Damage() string { return s.damage }

func damage(vs *networking.VirtualService, rec *record.Record, broken error) string {
	editor, edited := kube.Other(vs, recordPath...)
	switch {
	case broken != nil:
		return fmt.Sprintf("%s (%s wrote it)", broken, kube.Writer(vs, recordPath...))
	case edited && rec != nil:
		return fmt.Sprintf("the record names run %s, phase %s, canary weight %d: %s wrote it", rec.ID, rec.Phase,
			rec.Weight(), editor)
	}
	return ""
}

// Read returns the state as it is now. A VirtualService that is missing or of another shape is an
// error of configuration.
func (f Fence) Read(ctx context.Context) (State, error) {
	var vs *networking.VirtualService
	err := kube.Retry(ctx, func(ctx context.Context) (err error) {
		vs, err = f.VirtualServices.Get(ctx, f.name(), metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return State{}, f.missing("reading", err)
	}
	if err != nil {
		return State{}, fmt.Errorf("reading VirtualService %s: %w", f, err)
	}
	return Observe(vs, f.App, f.Selection)
}

// String is the VirtualService that is read and written, with its namespace, for messages.
func (f Fence) String() string { return f.name() + "." + f.App.Namespace }

func (f Fence) missing(doing string, err error) error {
	advice := "start a run, whose prepare makes it, or apply it again where it is yours"
	if !f.Selection.Standard(f.App) {
		advice = "apply it again, or correct virtual-services"
	}
	return failure.As(failure.ErrConfig, fmt.Errorf("%s VirtualService %s: %w: %s", doing, f, err, advice))
}

// Observe is the state of a VirtualService that has been read or watched. An open run has a selection of its own.
func Observe(vs *networking.VirtualService, app application.Application, selection mesh.Selection) (State, error) {
	state := State{VirtualService: vs}
	if text, ok := vs.Annotations[application.RunAnnotation]; ok {
		state.Record, state.Broken = record.Parse(text)
		if state.Broken != nil {
			state.Record = nil
		}
		state.damage = damage(vs, state.Record, state.Broken)
	}
	names := selection.Routes
	if state.Record.Open() {
		names = state.Record.Routes
	}
	var err error
	state.Splits, state.Left, err = mesh.FindSplits(vs, app, names...)
	return state, err
}

// Update is the one function that writes weights. It reads the state, asks decide for the next record
// and the canary's share, and writes both in one JSON patch that holds only for the state that was
// read. Where nothing changes it writes nothing. Where somebody else was faster it begins anew.
// decide may return a nil record to leave the record as it is.
func (f Fence) Update(ctx context.Context, decide func(State) (*record.Record, parameter.Weight, error)) (State,
	error) {
	for {
		before, err := f.latest(ctx)
		if err != nil {
			return before, err
		}
		f.known = nil
		after, again, err := f.write(ctx, before, decide)
		if err != nil || !again {
			return after, err
		}
	}
}

func (f Fence) latest(ctx context.Context) (State, error) {
	if f.known != nil {
		return f.Recall(*f.known), nil
	}
	now, err := f.Read(ctx)
	return f.Recall(now), err
}

func (f Fence) write(ctx context.Context, before State,
	decide func(State) (*record.Record, parameter.Weight, error)) (after State, again bool, err error) {
	next, share, err := decide(before)
	if errors.Is(err, record.ErrFenced) && before.Broken != nil {
		err = fmt.Errorf("%w: the record of VirtualService %s does not tell which run has it: %s", record.ErrFenced,
			f, before.Damage())
	}
	if err != nil {
		return before, false, err
	}
	patch, err := f.difference(before, next, share)
	if err != nil || patch == nil {
		return before, false, err
	}
	vs, err := f.VirtualServices.Patch(ctx, f.name(), types.JSONPatchType, patch, f.Mode.Patch())
	switch {
	case err == nil:
		after, err = Observe(vs, f.App, f.Selection)
		if f.Mode != kube.Rehearsal {
			slog.Info("route written", "virtualService", f.String(), "canaryWeight", share, "phase",
				phaseOf(after.Record))
		}
		return after, false, err
	case kube.Transient(err):
		slog.Warn("writing the route again", "error", err.Error())
		return before, true, kube.Pause(ctx)
	case kube.Raced(err):
		again, err := f.raced(ctx, before, err)
		return before, again, err
	case apierrors.IsNotFound(err):
		return before, false, f.missing("writing", err)
	}
	return before, false, fmt.Errorf("writing VirtualService %s: %w", f, err)
}

// raced tells a lost race from a patch that is refused for what it says.
func (f Fence) raced(ctx context.Context, before State, refused error) (bool, error) {
	now, err := f.Read(ctx)
	if err != nil {
		return false, err
	}
	if now.VirtualService.ResourceVersion == before.VirtualService.ResourceVersion {
		return false, fmt.Errorf("writing VirtualService %s: %w", f, refused)
	}
	return true, nil
}

// Remake makes a VirtualService that was deleted again: as it was last seen, labels and annotations included, but with
// all traffic to the primary, and with a record of that. One that exists by now is left as it is; made is false then.
func (f Fence) Remake(ctx context.Context, last State, rec *record.Record) (made bool, err error) {
	vs := last.VirtualService.DeepCopy()
	vs.ObjectMeta = metav1.ObjectMeta{Name: vs.Name, Labels: vs.Labels, Annotations: vs.Annotations}
	vs.Status.Reset()
	splits, _, err := mesh.FindSplits(vs, f.App, rec.Routes...)
	if err != nil {
		return false, err
	}
	splits.Give(rec.Weight())
	if vs.Annotations == nil {
		vs.Annotations = map[string]string{}
	}
	vs.Annotations[application.RunAnnotation] = rec.String()
	err = kube.Retry(ctx, func(ctx context.Context) error {
		_, err := f.VirtualServices.Create(ctx, vs, metav1.CreateOptions{FieldManager: kube.FieldManager})
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("making VirtualService %s again: %w", f, err)
	}
	slog.Info("route made again", "virtualService", f.String(), "phase", rec.Phase)
	return true, nil
}

// difference is the patch from a state to a record and a share; nil where they are the same.
func (f Fence) difference(before State, next *record.Record, share parameter.Weight) ([]byte, error) {
	vs := before.VirtualService
	ops := []kube.Operation{kube.Test("/metadata/resourceVersion", vs.ResourceVersion)}
	if next != nil && next.String() != vs.Annotations[application.RunAnnotation] {
		ops = append(ops, kube.Annotate(vs.Annotations, application.RunAnnotation, next.String())...)
	}
	if before.Splits.Check() != nil || before.Weight() != share {
		ops = append(ops, before.Splits.Operations(share)...)
	}
	if f.taking {
		ops = append(ops, before.Splits.TakeOver(f.App)...)
	}
	if f.giving {
		ops = append(ops, before.givenBack(f.App)...)
	}
	if len(ops) == 1 {
		return nil, nil
	}
	return kube.Patch(ops...)
}

func phaseOf(r *record.Record) run.Phase {
	if r == nil {
		return ""
	}
	return r.Phase
}
