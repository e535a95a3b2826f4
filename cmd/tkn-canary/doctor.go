package main

import (
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/doctor"
	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// patient is how long a check waits for pods to become ready.
const patient = 5 * time.Second

// examining is what doctor is told.
type examining struct {
	looking
	account  string
	pipeline string
	params   []string
	given    map[string]string // parameters that count more than those of the last run
}

func doctors() *cobra.Command {
	e := examining{given: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "doctor [APP]",
		Short: "Check a namespace, and an application, before a release",
		Long: `Check what a release needs: Tekton and its features, Istio, the Pipeline and its Tasks, the
account and what it may do, Pod Security, the janitor, what runs have left behind, and
Prometheus: whether it answers, its clock, and whether it scrapes Istio's proxies.

With an application's name it also rehearses what a run begins with, as the API server would
have it, looks at what would hold for one of canary and primary alone, at what is counted of
its requests and how often, and finds tools that would put back what a run changes. Nothing
is changed.

Parameters are those of the application's last run, or the defaults of the Pipeline; flags
count more. A Prometheus with a name of the cluster is asked through the API server: by its
proxy, or by a port-forward. Files of a token or a certificate are this machine's.

Each line is ok, a warning or an error, and says what to do. The exit code is 1 if there is an
error.`,
		Example: `  tkn canary doctor -n production
  tkn canary doctor shop -n production --param gateways=istio-system/public -o json`,
		Args:              atMostOne,
		ValidArgsFunction: e.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.run(cmd, args) },
	}
	e.cluster.add(cmd)
	f := cmd.Flags()
	f.StringVar(&e.account, "service-account", "serin", "ServiceAccount of the runs")
	f.StringVar(&e.pipeline, "pipeline", "", "name of the Pipeline (default: the last run's, or canary)")
	f.StringArrayVarP(&e.params, "param", "p", nil,
		"parameter of the next run, as NAME=VALUE; may be repeated (default: those of the last run)")
	e.formats(cmd, "table", "json", "yaml")
	offerValues(cmd, "pipeline", e.named(kube.Pipelines))
	offer(cmd, e.given, parameter.Of(prometheus.Config{}))
	return cmd
}

func (e *examining) run(cmd *cobra.Command, args []string) error {
	quiet(cmd)
	if err := formatted(e.output, "table", "json", "yaml"); err != nil {
		return err
	}
	config, namespace, err := e.cluster.config()
	if err != nil {
		return err
	}
	p := doctor.Patient{Namespace: namespace, Account: e.account, Pipeline: e.pipeline, Config: config}
	if len(args) > 0 {
		p.Application = args[0]
		if err := (application.Application{Namespace: namespace, Name: args[0]}).Validate(); err != nil {
			return err
		}
	}
	params := map[string]string{}
	if err := assign(params, e.params); err != nil {
		return err
	}
	named := maps.Clone(params)
	maps.Copy(params, e.given)
	if p.Cluster, err = kube.New(config); err != nil {
		return err
	}
	as := rest.CopyConfig(config)
	as.Impersonate.UserName = fmt.Sprintf("system:serviceaccount:%s:%s", namespace, e.account)
	if p.As, err = kube.New(as); err != nil {
		return err
	}
	if err := p.Learn(cmd.Context(), params); err != nil {
		return err
	}
	if found, err := pipelineOf(cmd.Context(), p.Cluster, namespace, p.Pipeline); err == nil {
		if err := importing.Known(found, named); err != nil {
			return err
		}
	}
	p.Preparation.Deadline = patient
	found := doctor.Examine(cmd.Context(), p)
	if err := e.print(cmd.OutOrStdout(), found); err != nil {
		return err
	}
	if doctor.Worst(found) == doctor.Error {
		return fmt.Errorf("examining %s: there are errors", namespace)
	}
	return nil
}

func (e *examining) print(w io.Writer, found []doctor.Finding) error {
	if e.output != "table" {
		return encode(w, e.output, found)
	}
	var table terminal.Table
	for _, f := range found {
		table.Row(terminal.Mood(string(f.Level)), f.Check, f.Text)
		if f.Advice != "" {
			table.Row("", "", "→ "+f.Advice)
		}
	}
	return table.Write(terminal.Writer(w))
}
