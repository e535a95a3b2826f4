package parameters

import (
	"cmp"
	"context"
	"maps"
	"slices"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// config is what the tasks of a run are told, less what the Pipeline tells each of them.
type config struct {
	Routes   mesh.Selection
	Queue    prepare.Queue
	Prepare  prepare.Config
	Settling release.Settling
	Judge    judge.Config
	Limits   prepare.Limits
	Keep     rollback.Keep
}

// CheckValue refuses a value that a parameter of a run cannot have. One that no task of Serin's has may have any.
func CheckValue(name, value string) error {
	for _, p := range parameter.Of(config{}) {
		if p.Name == name {
			return p.Check(value)
		}
	}
	return nil
}

// Check refuses values that a run of a Pipeline cannot have, as its first task would.
func Check(ctx context.Context, app application.Application, p *tekton.Pipeline, told map[string]string) error {
	var refusals failure.Refusals
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if err := CheckValue(name, told[name]); err != nil {
			refusals.Addf("reading %s: %w", name, err)
		}
	}
	if err := refusals.Err(); err != nil {
		return err
	}
	var c config
	if err := Decode(ctx, Found{Values: defaults(&p.Spec)}, told, &c); err != nil {
		return err
	}
	if err := c.Prepare.Check(); err != nil {
		return err
	}
	if err := c.Keep.Check(); err != nil {
		return err
	}
	if err := c.Limits.Check(app, c.Settling, c.Judge); err != nil {
		return err
	}
	_, err := judge.New(c.Judge, judge.Target{Namespace: cmp.Or(app.Namespace, "default"), Canary: app.Name,
		Primary: app.Primary()})
	return err
}
