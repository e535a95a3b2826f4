package prepare

import (
	"fmt"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// admit refuses, with all reasons at once, Deployments that cannot be released like this, and returns how the primary
// is copied from the target. primary is nil before the first release; unscalable is what stands against the
// autoscalers, nil for nothing.
func admit(app application.Application, p Preparation, target, primary *workload.Deployment,
	unscalable error) (workload.Copy, error) {
	var refusals failure.Refusals
	if target.Spec.Strategy.Type == "Recreate" {
		refusals.Addf("reading Deployment %s: strategy Recreate would empty the primary at each promotion, want "+
			"RollingUpdate", app)
	}
	for _, d := range []*workload.Deployment{target, primary} {
		if d != nil && d.Spec.Paused {
			refusals.Addf("reading Deployment %s: it is paused, so its pods would not change: run kubectl rollout "+
				"resume deployment/%s -n %s", d.Name, d.Name, app.Namespace)
		}
	}
	if primary != nil && primary.Labels[application.Label] != app.Name {
		refusals.Addf("reading Deployment %s: Serin did not make it (no label %s: %s), and would overwrite it: rename "+
			"it, or release %s under another name", primary.Name, application.Label, app.Name, app.Name)
	}
	if _, err := workload.SetImage(target, p.Container, string(p.Image)); err != nil {
		refusals.Add(err)
	}
	copied, err := workload.CopyOf(target)
	if err == nil {
		err = copied.Clash(target, primary)
	}
	refusals.Add(err)
	refusals.Add(unscalable)
	if err := refusals.Err(); err != nil {
		return copied, fmt.Errorf("preparing %s: %w", app, err)
	}
	return copied, nil
}
