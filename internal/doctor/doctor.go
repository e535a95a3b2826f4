// Package doctor checks a namespace before its first release, and an application before its own. It changes nothing.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/parameters"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release/prepare"
)

// Level is how much a finding matters.
type Level string

const (
	OK      Level = "ok"
	Warning Level = "warning" // a release may go on, but not as well
	Error   Level = "error"   // a release would fail, or do harm
)

// Finding is what a check has found.
type Finding struct {
	Check  string `json:"check"`
	Level  Level  `json:"level"`
	Text   string `json:"text"`             // what was found, and what it means
	Advice string `json:"advice,omitempty"` // what to do; empty where nothing is to be done
}

// Patient is what is examined.
type Patient struct {
	Cluster     *kube.Cluster
	Namespace   string
	Account     string        // ServiceAccount of the runs
	As          *kube.Cluster // the cluster as that account sees it
	Pipeline    string        // that releases
	Application string        // empty: the namespace alone
	Preparation prepare.Preparation
	Config      *rest.Config // of the cluster

	// What runs are told, by Learn: where Prometheus is, how canaries are judged, and which routes are shifted.
	Prometheus prometheus.Config
	Rules      judge.Config
	Routes     mesh.Selection

	source string // of the address of Prometheus
}

// Learn finds out what runs are told. What is given counts more, and so do files: a run's are in its pods.
func (p *Patient) Learn(ctx context.Context, given map[string]string) error {
	var told parameters.Found
	if !absent(ctx, p.Cluster, pipelineRuns) {
		var err error
		told, err = parameters.Of(ctx, p.Cluster, p.app(), cmp.Or(p.Pipeline, pipeline))
		if err != nil && !apierrors.IsForbidden(err) {
			return err
		}
	}
	p.Pipeline = cmp.Or(p.Pipeline, told.Pipeline, pipeline)
	told = told.Outside()
	for _, name := range parameters.Once {
		delete(told.Values, name)
	}
	p.source = told.Source(given)
	if err := parameters.Decode(ctx, told, given, &p.Preparation.Config); err != nil {
		return err
	}
	if err := parameters.Decode(ctx, told, given, &p.Routes); err != nil {
		return err
	}
	if err := parameters.Decode(ctx, told, given, &p.Rules); err != nil {
		return err
	}
	return parameters.Decode(ctx, told, given, &p.Prometheus)
}

// pipeline is the name of the Pipeline that Serin's manifest has.
const pipeline = "canary"

func (p Patient) app() application.Application {
	return application.Application{Namespace: p.Namespace, Name: p.Application}
}

// check looks at one thing.
type check struct {
	name string
	look func(context.Context, Patient) []Finding
}

// checks are all, in the order in which one would mend what they find.
func (p Patient) checks() []check {
	all := []check{
		{"tekton", tekton}, {"features", features}, {"istio", istio}, {"pipeline", pipelines}, {"account", account},
		{"rights", rights}, {"pod security", podSecurity}, {"sidecars", sidecars}, {"janitor", janitor},
		{"orphans", orphans}, {"prometheus", observed},
	}
	if p.Application != "" {
		all = append(all, check{"application", examined}, check{"owners", owners})
	}
	return all
}

// Examine makes all checks.
func Examine(ctx context.Context, p Patient) []Finding {
	var all []Finding
	for _, c := range p.checks() {
		for _, f := range c.looked(ctx, p) {
			f.Check = cmp.Or(f.Check, c.name)
			all = append(all, f)
		}
	}
	return all
}

// longest is how long a check may take: the API server may be away.
const longest = time.Minute

func (c check) looked(ctx context.Context, p Patient) []Finding {
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("no answer within %s", longest))
	defer cancel()
	return c.look(ctx, p)
}

// Worst is the worst of findings.
func Worst(all []Finding) Level {
	worst := OK
	for _, f := range all {
		if f.Level == Error || f.Level == Warning && worst == OK {
			worst = f.Level
		}
	}
	return worst
}

// unseen is a check that could not look.
func unseen(err error) []Finding {
	return []Finding{{Level: Warning, Text: "not looked at: " + err.Error(),
		Advice: "look again with an account that may read it"}}
}

func fine(text string) []Finding { return []Finding{{Level: OK, Text: text}} }

func warning(text, advice string) []Finding {
	return []Finding{{Level: Warning, Text: text, Advice: advice}}
}

func wrong(text, advice string) []Finding {
	return []Finding{{Level: Error, Text: text, Advice: advice}}
}
