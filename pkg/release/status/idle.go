package status

import (
	"context"
	"fmt"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/weight"
)

// Idle is an error while a run has the application, as a record tells that is read with routes, or is about to.
func Idle(ctx context.Context, c *kube.Cluster, app application.Application, routes weight.Routes) error {
	advice := fmt.Sprintf("wait for it, or give the traffic back to the primary with tkn canary abort %s -n %s --wait",
		app.Name, app.Namespace)
	for _, rec := range routes.Records(app) {
		if rec.Open() {
			return fmt.Errorf("PipelineRun %s/%s is at work on it (phase %s, canary weight %d): %s", rec.ID.Namespace,
				rec.ID.Name, rec.Phase, rec.Weight(), advice)
		}
	}
	runs, err := Runs(ctx, c, app.Namespace)
	if err != nil {
		return err
	}
	if newest, found := Newest(runs, app); found && newest.Ended.IsZero() {
		return fmt.Errorf("PipelineRun %s/%s has not ended: %s", app.Namespace, newest.ID.Name, advice)
	}
	return nil
}
