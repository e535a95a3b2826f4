package release

import (
	"context"
	"fmt"
	"log/slog"

	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Remembering is the release with a store that goes by a run's record as it last was, where that on the VirtualService
// is not to be relied upon.
func (r *Release) Remembering(last *record.Record) *Release {
	other := *r
	other.Fence = r.Fence.Remembering(last)
	return &other
}

// Knowing is Remembering the record of a state. Where the state has a VirtualService too, it was so a moment ago.
func (r *Release) Knowing(state weight.State) *Release {
	other := r.Remembering(state.Record)
	if state.VirtualService != nil {
		other.Fence = other.Fence.From(state)
	}
	return other
}

// Remake makes the application's VirtualService again that somebody has deleted, within 5 s, whatever has become of
// ctx: as it was last seen, with all traffic to the primary, and with what next makes of the run's record. Only one
// that Serin had made is its to make. It says in words what became of it, and whether there is a VirtualService now.
func (r *Release) Remake(ctx context.Context, deleted *networking.VirtualService,
	next func(last *record.Record, text string) (*record.Record, error)) (text string, there bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	text = fmt.Sprintf("VirtualService %s was deleted, by whom is not known", deleted.Name)
	if deleted.Labels[application.Label] != r.App.Name {
		return text +
				"; Serin had not made it: apply it again, before the next run, whose prepare makes one where there " +
				"is none",
			false
	}
	again := text + "; it was made again, with all traffic to the primary"
	seen, err := weight.Observe(deleted, r.App, r.Fence.Selection)
	var rec *record.Record
	if err == nil {
		rec, err = next(r.Fence.Recall(seen).Record, again)
	}
	made := false
	if err == nil && !rec.Open() { // no follower may have a share then
		err = r.Fence.EndFollowers(ctx, rec, r.ID, rec.Outcome, rec.Reason, r.Cluster)
	}
	if err == nil {
		made, err = r.Fence.Remake(ctx, seen, rec)
	}
	switch {
	case err != nil:
		slog.Warn("route not made again", "virtualService", deleted.Name, "error", err.Error())
		return fmt.Sprintf("%s; making it again: %s: start a run, whose prepare makes it", text, err), false
	case !made:
		return text + "; somebody has made another since", true
	}
	r.Events.Warningf(ctx, "%s", again)
	return again, true
}

// RemakeEnded is Remake with the run ended as rolled back by an inconclusive verdict; code is what the recorded reason
// begins with.
func (r *Release) RemakeEnded(ctx context.Context, deleted *networking.VirtualService, code string) string {
	text, _ := r.Remake(ctx, deleted, func(last *record.Record, text string) (*record.Record, error) {
		closed, err := record.Close(last, r.ID, run.RolledBack, code+": "+text, r.Cluster.Now())
		return record.Judged(last, closed, verdict.Inconclusive), err
	})
	return text
}
