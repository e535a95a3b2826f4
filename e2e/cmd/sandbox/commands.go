package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/e2e/sandbox"
)

// settings are the flags that commands share.
type settings struct {
	name   string
	output string
}

func root() *cobra.Command {
	set := &settings{}
	cmd := &cobra.Command{
		Use:           "sandbox",
		Short:         "A real one-node Kubernetes with Tekton, Istio and Prometheus on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if set.output != "" && set.output != "json" {
				return fmt.Errorf("printing as %s: want -o json, or no -o for people", set.output)
			}
			return nil
		},
	}
	cmd.PersistentFlags().StringVar(&set.name, "name", sandbox.DefaultName,
		"which sandbox; those of different names run side by side")
	cmd.AddCommand(up(set), down(set), status(set), buildCommand(set), images(set), execCommand(set), kubectl(set),
		logs(set), component(set), loadCommand(set))
	return cmd
}

func outputFlag(cmd *cobra.Command, set *settings) {
	cmd.Flags().StringVarP(&set.output, "output", "o", "", "json: for programs")
}

func up(set *settings) *cobra.Command {
	var o sandbox.Options
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Build what is missing, start the sandbox and leave it running",
		Long: `Build what is missing, start the sandbox and leave it running until "down".

With KUBECONTEXT set nothing is started: the cluster of that context of the
kubeconfig is checked for what the demo needs, and what is missing is named.
PROMETHEUS_URL and GATEWAY_URL tell where its Prometheus and its ingress gateway
are, KO_DOCKER_REPO which repository images go to.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Name, o.Detach, o.Out, o.Existing = set.name, true, os.Stderr, sandbox.FromEnvironment()
			s, err := sandbox.Up(cmd.Context(), o)
			if errors.Is(err, sandbox.ErrExists) {
				s, err = sandbox.Attach(set.name)
			}
			if err != nil {
				return err
			}
			return printFacts(cmd.Context(), cmd.OutOrStdout(), set, s)
		},
	}
	cmd.Flags().BoolVar(&o.Bare, "bare", false, "Kubernetes alone")
	cmd.Flags().BoolVar(&o.MetricsServer, "metrics-server", false, "with metrics-server, for autoscalers")
	cmd.Flags().BoolVar(&o.Flagger, "flagger", false, "with Flagger, for applications that move from it or back")
	cmd.Flags().BoolVar(&o.Triggers, "triggers", false, "with Tekton Triggers, for webhooks that start Pipelines")
	outputFlag(cmd, set)
	return cmd
}

func down(set *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the sandbox and leave the machine as it was",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return sandbox.Down(cmd.Context(), set.name)
		},
	}
}

func status(set *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print addresses and how the components are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := sandbox.Attach(set.name)
			if err != nil {
				return err
			}
			return printFacts(cmd.Context(), cmd.OutOrStdout(), set, s)
		},
	}
	outputFlag(cmd, set)
	return cmd
}

func printFacts(ctx context.Context, w io.Writer, set *settings, s *sandbox.Sandbox) error {
	components, err := s.Components(ctx)
	if err != nil {
		return err
	}
	if set.output == "json" {
		return printJSON(w, struct {
			sandbox.Facts
			Components []sandbox.Component `json:"components,omitempty"`
		}{s.Facts, components})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"sandbox", s.Name}, {"API server", s.APIServer}, {"gateway", s.Gateway}, {"Prometheus", s.Prometheus},
		{"  for pods", s.PodPrometheus},
		{"audit log", s.AuditLog}, {"state, logs", s.Dir},
	} {
		if row[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
		}
	}
	for _, c := range components {
		again := ""
		if c.Restarts > 0 {
			again = fmt.Sprintf(", started again %d times", c.Restarts)
		}
		fmt.Fprintf(t, "%s\t%s%s\n", c.Name, c.State, again)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if s.Dir == "" {
		return nil
	}
	_, err = fmt.Fprintf(w, "\nnext:  export KUBECONFIG=%s\n       alias kubectl='%s kubectl'\n", s.Kubeconfig, s.Kube)
	return err
}

func buildCommand(set *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "build [" + strings.Join(sandbox.Parts(), "|") + "|all]...",
		Short: "Build parts of the sandbox into the cache and print where they are",
		RunE: func(cmd *cobra.Command, args []string) error {
			built, err := sandbox.Build(cmd.Context(), os.Stderr, args...)
			if err != nil {
				return err
			}
			if set.output == "json" {
				return printJSON(cmd.OutOrStdout(), built)
			}
			for _, b := range built {
				fmt.Fprintln(cmd.OutOrStdout(), b.Path)
			}
			return nil
		},
	}
	outputFlag(cmd, set)
	return cmd
}

func images(set *settings) *cobra.Command {
	cmd := &cobra.Command{Use: "images", Short: "Container images on the node"}
	cmd.AddCommand(&cobra.Command{
		Use:   "load ARCHIVE...",
		Short: "Import image archives (docker or OCI layout) into the node",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := sandbox.Attach(set.name)
			if err != nil {
				return err
			}
			for _, a := range args {
				if err := s.LoadImages(cmd.Context(), a); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return cmd
}

func execCommand(set *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "exec -- COMMAND [ARG]...",
		Short: "Run a command on the node, where Service addresses and cluster DNS work",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := sandbox.Attach(set.name)
			if s == nil {
				return err
			}
			return attached(s.Command(cmd.Context(), args...))
		},
	}
}

func kubectl(set *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl -- ARG...",
		Short: "Run kubectl of the cluster's own version as administrator",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := sandbox.Attach(set.name)
			if err != nil {
				return err
			}
			return attached(s.Kubectl(cmd.Context(), args...))
		},
	}
}

// attached runs a command on this program's own terminal, which also sends it the interrupts.
func attached(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

func logs(set *settings) *cobra.Command {
	lines := 0
	cmd := &cobra.Command{
		Use:   "logs [COMPONENT]...",
		Short: "Print the last lines of the components' logs",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := sandbox.Attach(set.name)
			if s == nil {
				return err
			}
			if len(args) == 0 {
				args = s.LogNames()
			}
			for _, name := range args {
				text, err := s.LogTail(name, lines)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "==> %s <==\n%s\n", name, text)
			}
			return nil
		},
	}
	cmd.Flags().IntVarP(&lines, "lines", "n", 20, "how many of each")
	return cmd
}

func component(set *settings) *cobra.Command {
	verbs := []string{"start", "stop", "kill", "restart"}
	return &cobra.Command{
		Use:   "component start|stop|kill|restart NAME",
		Short: "Start, stop, kill or restart a component of the node",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := sandbox.Attach(set.name)
			if err != nil {
				return err
			}
			switch slices.Index(verbs, args[0]) {
			case 0:
				return s.Start(cmd.Context(), args[1])
			case 1:
				return s.Stop(cmd.Context(), args[1])
			case 2:
				return s.Kill(cmd.Context(), args[1])
			case 3:
				return s.Restart(cmd.Context(), args[1])
			}
			return fmt.Errorf("component %s: want one of %s", args[0], strings.Join(verbs, ", "))
		},
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
