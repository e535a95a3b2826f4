package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// told is an error as it is told to who has called the program: with what to do, where that is the same everywhere.
func told(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	var unreached *kube.Unreached
	if errors.As(err, &unreached) {
		return unreached // whatever it was asked for first
	}
	if name, ok := strings.CutPrefix(err.Error(), "unknown command \""); ok { // cobra has no type for it
		name, _, _ = strings.Cut(name, "\"")
		return unknown(cmd, name)
	}
	if group := kube.Unserved(err); group != "" {
		return failure.Configf("%w: %s is not installed there, or too old: tkn canary doctor says what is missing", err,
			cmp.Or(projects[group], group))
	}
	return err
}

// projects are those whose kinds are asked for.
var projects = map[string]string{"tekton.dev": "Tekton Pipelines", "networking.istio.io": "Istio"}

// unknown is the error of a command that there is not.
func unknown(cmd *cobra.Command, name string) error {
	var known []string
	for _, c := range cmd.Root().Commands() {
		known = append(known, c.Name())
	}
	return failure.Configf("reading arguments: there is no command %q%s: %s help lists all", name,
		nearest(name, known, ""), cmd.Root().CommandPath())
}

// nearest names the known name that is written most alike, if one is.
func nearest(name string, known []string, dashes string) string {
	if best := importing.Nearest(name, known); best != "" {
		return ": the nearest is " + dashes + best
	}
	return ""
}

// refused words what is wrong with a flag as the steps do.
func refused(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		if _, ok := invalid.GetFlag().Value.(flag); ok {
			return failure.Configf("reading %s: %w", invalid.GetFlag().Name, invalid.Unwrap())
		}
	}
	var none *pflag.NotExistError
	if errors.As(err, &none) && none.GetSpecifiedShortnames() == "" {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		err = fmt.Errorf("%w%s", err, nearest(none.GetSpecifiedName(), known, "--"))
	}
	return failure.Configf("%w: %s --help lists all", err, cmd.CommandPath())
}

// none, one and atMostOne are how many arguments a command takes.
func none(cmd *cobra.Command, args []string) error      { return amount(cmd, args, 0, 0) }
func one(cmd *cobra.Command, args []string) error       { return amount(cmd, args, 1, 1) }
func atMostOne(cmd *cobra.Command, args []string) error { return amount(cmd, args, 0, 1) }

func amount(cmd *cobra.Command, args []string, least, most int) error {
	if len(args) >= least && len(args) <= most {
		return nil
	}
	return failure.Configf("reading arguments: got %d, want %s", len(args), cmd.UseLine())
}

// helps is cobra's help, which fails where there is no such command.
func helps() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, _, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}
