package main

import (
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/tasks"
)

// flag is one that has the name, the default and the description of a step's parameter.
type flag struct {
	parameter.Parameter
	given map[string]string
}

// Set implements pflag.Value.
func (p flag) Set(value string) error {
	if err := p.Check(value); err != nil {
		return err
	}
	p.given[p.Name] = value
	return nil
}

// String implements pflag.Value.
func (p flag) String() string {
	if value, ok := p.given[p.Name]; ok {
		return value
	}
	return p.Default
}

// Type implements pflag.Value.
func (p flag) Type() string { return "value" }

// offer adds parameters to the flags of a command, which go into given.
func offer(cmd *cobra.Command, given map[string]string, all []parameter.Parameter) {
	known := descriptions()
	for _, p := range all {
		cmd.Flags().Var(flag{Parameter: p, given: given}, p.Name, known[p.Name])
	}
}

// descriptions are those of the Tasks' parameters, by name. Several commands ask for them.
var descriptions = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for _, name := range []string{"canary-prepare", "canary-finish", "canary-stage"} {
		task, err := pipeline.ReadTask(tasks.Files, name)
		if err != nil {
			return all // a test reads them too
		}
		for _, p := range task.Spec.Params {
			all[p.Name] = lowered(strings.TrimSuffix(p.Description, "."))
		}
	}
	return all
})

// lowered begins as help texts of flags do.
func lowered(text string) string {
	if len(text) < 2 || strings.ToUpper(text[:2]) == text[:2] {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}
