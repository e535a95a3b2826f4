package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/outside"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// observed asks the Prometheus of the runs.
func observed(ctx context.Context, p Patient) []Finding {
	url := p.Prometheus.URL
	reached, err := p.machine().Reach(ctx, p.Prometheus)
	switch {
	case errors.Is(err, outside.ErrAbsent):
		return wrong(fmt.Sprintf("%s, as %s has it: %s. Each run would end in prepare", url, p.source, err),
			"set the parameter prometheus-url to the address of yours"+candidates(ctx, p))
	case errors.Is(err, failure.ErrConfig):
		return wrong(err.Error(), "correct that parameter")
	case err != nil:
		return warning(err.Error(), "ask for the right to get and create services/proxy there, or to create "+
			"pods/portforward; or name an address that answers here, with --prometheus-url. A run asks from its pods, "+
			"in prepare")
	}
	defer reached.Close()
	found := fine(fmt.Sprintf("%s, as %s has it, answers: asked %s", url, p.source, reached.Way))
	found = append(found, named("clocks", clocks(ctx, p, reached.Client))...)
	return append(found, named("metrics", metrics(ctx, p, reached.Client))...)
}

// named are the findings of a check that is part of another.
func named(check string, all []Finding) []Finding {
	for i := range all {
		if all[i].Check == "" {
			all[i].Check = check
		}
	}
	return all
}

func (p Patient) machine() outside.Machine {
	return outside.Machine{Cluster: p.Cluster, Config: p.Config, Namespace: p.Namespace}
}

// candidates are the Services that look like a Prometheus, in words.
func candidates(ctx context.Context, p Patient) string {
	var names []string
	for _, label := range []string{"app.kubernetes.io/name=prometheus", "app=prometheus",
		"operated-prometheus=true"} {
		list, err := p.Cluster.Objects(kube.Services, "").List(ctx, metav1.ListOptions{LabelSelector: label})
		if err != nil {
			return ""
		}
		for _, o := range list.Items {
			if name := o.GetName() + "." + o.GetNamespace(); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return ", perhaps " + strings.Join(names, " or ")
}

// asker is all that is asked of Prometheus.
type asker interface {
	Now(context.Context) (time.Time, error)
	Query(context.Context, string, time.Time) (model.Value, error)
}

// apart is how far this machine's clock may be from the cluster's.
const apart = 5 * time.Second

// clocks compares those of Prometheus, the API server and this machine.
func clocks(ctx context.Context, p Patient, q asker) []Finding {
	now, err := q.Now(ctx)
	if err != nil {
		return unseen(err)
	}
	var all []Finding
	for _, text := range judge.SkewOf(now, p.Cluster.Now()).Warnings() {
		all = append(all, warning(text+", and a run's as well, to within 5 s", "set the clocks of the nodes")...)
	}
	if here := time.Until(p.Cluster.Now()); here.Abs() > apart {
		all = append(all, warning(fmt.Sprintf("this machine's clock is %s from the API server's: ages that are shown "+
			"here are wrong", here.Abs().Round(time.Second)), "set this machine's clock")...)
	}
	if len(all) == 0 {
		return fine("Prometheus, the API server and this machine agree to within 5 s")
	}
	return all
}

// metrics checks what the proxies count of the application, as the judge would read it.
func metrics(ctx context.Context, p Patient, q asker) []Finding {
	if p.Application == "" {
		return anyRequests(ctx, q)
	}
	target, err := p.target(ctx)
	if err != nil {
		return unseen(err)
	}
	j, err := judge.New(p.Rules, target)
	if err != nil {
		return wrong(err.Error(), "correct that parameter")
	}
	seen, err := j.Look(ctx, q)
	if err != nil {
		return unseen(err)
	}
	if len(seen.Series) == 0 {
		return p.unseries(ctx, q, seen)
	}
	return append(p.counted(seen, target), named("scrapes", p.scrapes(seen))...)
}

// target is what is judged. Before its first release, an application serves by the names that are the canary's later.
func (p Patient) target(ctx context.Context) (judge.Target, error) {
	app := p.app()
	t := judge.Target{Namespace: p.Namespace, Canary: app.Name, Primary: app.Primary(), CanaryService: app.Canary()}
	_, err := p.Cluster.Objects(kube.Deployments, p.Namespace).Get(ctx, app.Primary(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		t.Canary, t.Primary = app.Canary(), app.Name
		return t, nil
	}
	return t, err
}

// anyRequests says whether anybody's are counted.
func anyRequests(ctx context.Context, q asker) []Finding {
	by, err := reporters(ctx, q, prometheus.Select(counting.Requests))
	if err != nil {
		return unseen(err)
	}
	if len(by) == 0 {
		return uncounted()
	}
	return fine(counting.Requests + " is there, by reporter " + strings.Join(by, " and "))
}

func uncounted() []Finding {
	return wrong("Prometheus has no "+counting.Requests+": it does not scrape the proxies of Istio",
		"have it scrape gateways and sidecars: by the prometheus.io annotations that Istio sets, or by the PodMonitor "+
			"of Istio's samples/addons/extras/prometheus-operator.yaml")
}

// reporters are those of the series that a selector matches.
func reporters(ctx context.Context, q asker, selector string) ([]string, error) {
	value, err := q.Query(ctx, "group by (reporter) ("+selector+")", time.Time{})
	if err != nil {
		return nil, err
	}
	var names []string
	all, _ := value.(model.Vector)
	for _, sample := range all {
		names = append(names, string(sample.Metric["reporter"]))
	}
	slices.Sort(names)
	return names, nil
}

// unseries says why the judge finds none of an application's.
func (p Patient) unseries(ctx context.Context, q asker, seen judge.Seen) []Finding {
	if all := anyRequests(ctx, q); all[0].Level != OK {
		return all
	}
	app := p.app()
	for _, like := range []struct{ label, namespace string }{
		{"destination_service_name", "destination_service_namespace"},
		{"destination_workload", "destination_workload_namespace"},
	} {
		names := prometheus.OneOf(like.label, app.Name, app.Primary(), app.Canary())
		in := prometheus.Equal(like.namespace, p.Namespace)
		by, err := reporters(ctx, q, prometheus.Select(counting.Requests, names, in))
		if err != nil {
			return unseen(err)
		}
		if len(by) > 0 {
			return wrong(fmt.Sprintf("%s of %s is there by reporter %s and %s, but nothing answers %s",
				counting.Requests, app.Name, strings.Join(by, " and "), like.label, seen.Query),
				"set the parameter reporter to "+strings.Join(by, " or ")+", or to auto; see split, too")
		}
		by, err = reporters(ctx, q, prometheus.Select(counting.Requests, names, prometheus.Equal(like.namespace, "")))
		if err != nil {
			return unseen(err)
		}
		if len(by) > 0 {
			return wrong(fmt.Sprintf("%s of %s has no label %s: the judge cannot tell its requests from others'",
				counting.Requests, app.Name, like.namespace),
				"keep that label in Prometheus's relabeling and in Istio's Telemetry")
		}
	}
	return warning(fmt.Sprintf("no proxy has counted a request of %s in the last 5m: a canary could not be judged",
		app.Name), "send it requests through the gateway, or from pods that have a sidecar, and look again")
}

// counted says who counts the application's requests, and whether all labels are there that judging needs.
func (p Patient) counted(seen judge.Seen, t judge.Target) []Finding {
	var coded bool
	for _, series := range seen.Series {
		coded = coded || series["response_code"] != ""
	}
	if !coded {
		return wrong(fmt.Sprintf("%s of %s has no label response_code: no request would count as an error",
			counting.Requests, p.Application), "keep that label in Prometheus's relabeling and in Istio's Telemetry")
	}
	var counts []string
	for by, h := range seen.History {
		counts = append(counts, fmt.Sprintf("%s %.0f", by, h.Primary.Requests))
	}
	slices.Sort(counts)
	text := fmt.Sprintf("%s of %s: requests in the last ten minutes by reporter: %s; %s counts", counting.Requests,
		t.Primary, strings.Join(counts, ", "), seen.By)
	if seen.History[seen.By].Primary.Requests == 0 {
		return warning(text+". Without requests a canary cannot be judged", "send it requests, and look again")
	}
	return fine(text)
}

// scrapes compares how often proxies are scraped with how often the run looks.
func (p Patient) scrapes(seen judge.Seen) []Finding {
	gap := seen.History[seen.By].Gap.Round(time.Second)
	interval := time.Duration(p.Rules.Interval)
	if gap == 0 {
		return warning("no proxy was scraped twice in the last ten minutes", "wait a minute, and look again")
	}
	text := fmt.Sprintf("the proxies are scraped each %s, and a run looks each %s", gap, interval)
	if interval >= 2*gap {
		return fine(text)
	}
	advice := fmt.Sprintf("set the parameter interval to %s or more, or have Prometheus scrape more often", 2*gap)
	if p.Rules.Judge == verdict.Classic || gap > interval {
		return wrong(text+": a check would find no values", advice)
	}
	return warning(text+", which should be two scrapes at least", advice)
}
