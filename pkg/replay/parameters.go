package replay

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/analysis"
	"github.com/serin-cd/serin/pkg/failure"
)

// leftOut are the parameters that make no difference to the past, or that a replay has in another form.
var leftOut = []string{"judge", "mode", "rollout", "as-of", "report"}

// Parameter is one that the steps have too, under the same name.
type Parameter struct {
	Name    string // kebab-case
	Default string
	kind    reflect.Type
}

// Parameters are those of the judges.
func Parameters() []Parameter {
	return slices.DeleteFunc(ParametersOf(analysis.Config{}), func(p Parameter) bool { return slices.Contains(leftOut, p.Name) })
}

// ParametersOf are those that a configuration of a step reads.
func ParametersOf(config any) []Parameter { return parametersOf(reflect.TypeOf(config)) }

func parametersOf(t reflect.Type) []Parameter {
	var all []Parameter
	for i := range t.NumField() {
		field := t.Field(i)
		key, options, _ := strings.Cut(field.Tag.Get("env"), ",")
		switch {
		case key == "" && field.Type.Kind() == reflect.Struct:
			all = append(all, parametersOf(field.Type)...)
		case key != "":
			p := Parameter{Name: strings.ToLower(strings.ReplaceAll(key, "_", "-")), kind: field.Type}
			if value, ok := strings.CutPrefix(strings.TrimSpace(options), "default="); ok {
				p.Default = value
			}
			all = append(all, p)
		}
	}
	return all
}

// Check refuses a value that the parameter cannot have.
func (p Parameter) Check(value string) error {
	decoder, ok := reflect.New(p.kind).Interface().(envconfig.Decoder)
	if !ok || value == "" {
		return nil
	}
	return decoder.EnvDecode(value)
}

// Decode fills a configuration with parameters by their names. The others have their defaults.
func Decode[C any](ctx context.Context, values map[string]string, config *C) error {
	all := ParametersOf(*config)
	env := map[string]string{}
	for name, value := range values {
		i := slices.IndexFunc(all, func(p Parameter) bool { return p.Name == name })
		if i < 0 {
			return failure.Configf("reading parameters: %s is none", name)
		}
		if err := all[i].Check(value); err != nil {
			return failure.Configf("reading %s: %w", name, err)
		}
		if value != "" { // which is none, as in a Task
			env[strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = value
		}
	}
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: config, Lookuper: envconfig.MapLookuper(env)}); err != nil {
		return failure.As(failure.ErrConfig, fmt.Errorf("reading parameters: %w", err))
	}
	return nil
}

// ConfigOf is the judges' configuration with some parameters given. Without a gate it is left to each stage.
func ConfigOf(ctx context.Context, values map[string]string) (analysis.Config, error) {
	var config analysis.Config
	if err := Decode(ctx, values, &config); err != nil {
		return config, err
	}
	if values["gate"] == "" {
		config.Sequential.Gate = ""
	}
	return config, nil
}
