package replay

import (
	"context"
	"slices"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// leftOut are the parameters that make no difference to the past, or that a replay has in another form.
var leftOut = []string{"judge", "mode", "rollout", "as-of", "report"}

// Parameters are those of the judges.
func Parameters() []parameter.Parameter {
	return slices.DeleteFunc(parameter.Of(judge.Config{}), func(p parameter.Parameter) bool {
		return slices.Contains(leftOut, p.Name)
	})
}

// ConfigOf is the judges' configuration with some parameters given. Without a gate it is left to each stage.
func ConfigOf(ctx context.Context, values map[string]string) (judge.Config, error) {
	var config judge.Config
	if err := parameter.Decode(ctx, values, &config); err != nil {
		return config, err
	}
	if values["gate"] == "" {
		config.Sequential.Gate = ""
	}
	return config, nil
}
