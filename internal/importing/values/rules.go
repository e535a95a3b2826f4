package values

import (
	"fmt"
	"strings"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/pkg/judge/verdict"
)

type rule = importing.Rule[*block]

// holders are the keys below which the packs have had the analysis: that of the article, and that of later years.
var holders = []string{"canaryAnalysis", "analysis"}

// The shapes of the block.
const (
	tutorial = "the shape of the first tutorial, of 2019"
	jayex    = "the shape of JayeX 3"
)

var (
	inChart  = importing.Always[*block](importing.Stays, "in the chart")
	unneeded = importing.Always[*block](importing.Unneeded, "the sequential judge counts over the whole stage")
)

var rules = importing.Rules[*block]{
	"enabled":                 enabled(""),
	"enable":                  enabled(tutorial),
	"provider":                importing.Always[*block](importing.Unneeded, "Serin releases through Istio"),
	"progressDeadlineSeconds": progress,
	"host":                    host,
	"service.hosts":           list("hosts", tutorial),
	"service.gateways":        list("gateways", tutorial),
	"service.port":            port,
	"labels":                  inChart,
	"gatewayLabels":           inChart,
}

func init() {
	for _, holder := range holders {
		named := ""
		if holder == "analysis" {
			named = jayex
		}
		for path, r := range map[string]rule{
			"interval":                             interval,
			"threshold":                            threshold,
			"maxWeight":                            weights,
			"stepWeight":                           weights,
			"metrics.requestSuccessRate.threshold": bound("success-rate"),
			"metrics.requestSuccessRate.interval":  unneeded,
			"metrics.requestDuration.threshold":    bound("request-duration"),
			"metrics.requestDuration.interval":     unneeded,
			"metrics.latency.threshold":            bound("request-duration"),
			"metrics.latency.interval":             unneeded,
			"metrics[]":                            metric,
		} {
			rules[holder+"."+path] = called(named, r)
		}
	}
}

// called names the shape that a field belongs to, unless it is the article's.
func called(shape string, r rule) rule {
	if shape == "" {
		return r
	}
	return func(b *block, v importing.Value) (importing.Fate, string, error) {
		fate, note, err := r(b, v)
		return fate, note + "; " + shape, err
	}
}

func enabled(shape string) rule {
	return called(shape, func(_ *block, v importing.Value) (importing.Fate, string, error) {
		on, err := v.Bool()
		if on {
			return importing.Unneeded, "a run releases by canary; the chart makes the Gateway", err
		}
		return importing.Unneeded, "off: switch it on in the environment, so that the chart makes the Gateway", err
	})
}

func progress(b *block, v importing.Value) (importing.Fate, string, error) {
	d, err := v.Seconds()
	if err != nil {
		return "", "", err
	}
	return b.ProgressDeadline(d)
}

func host(b *block, v importing.Value) (importing.Fate, string, error) {
	text, err := v.Scalar()
	if err != nil {
		return "", "", err
	}
	switch text {
	case "":
		return importing.Unneeded, "no host of its own: callers of the mesh use the application's name", nil
	case placeholder:
		return importing.Unneeded, "what the packs begin with: the environment has the host", nil
	}
	return b.Set("hosts", text)
}

// list takes texts over as a parameter.
func list(parameter, shape string) rule {
	return called(shape, func(b *block, v importing.Value) (importing.Fate, string, error) {
		all, err := v.Strings()
		if err != nil {
			return "", "", err
		}
		return b.Set(parameter, strings.Join(all, ","))
	})
}

func port(b *block, v importing.Value) (importing.Fate, string, error) {
	n, err := v.Int()
	if err != nil {
		return "", "", err
	}
	return b.Set("port", fmt.Sprint(n))
}

func interval(b *block, v importing.Value) (importing.Fate, string, error) {
	d, err := v.Duration()
	if err != nil {
		return "", "", err
	}
	return b.Interval(d)
}

func threshold(b *block, v importing.Value) (importing.Fate, string, error) {
	n, err := v.Int()
	if err == nil && n == 0 {
		err = v.Refusef("0, want at least 1")
	}
	if err != nil {
		return "", "", err
	}
	return b.Threshold(n)
}

func weights(b *block, _ importing.Value) (importing.Fate, string, error) {
	return importing.Taken, importing.Weights(b.Plan.Weights), nil
}

// bound takes a number over as a limit.
func bound(parameter string) rule {
	return func(b *block, v importing.Value) (importing.Fate, string, error) {
		text, err := v.Limit(parameter)
		if err != nil {
			return "", "", err
		}
		return b.Set(parameter, text)
	}
}

// metric takes a limit over that stands in a list.
func metric(b *block, v importing.Value) (importing.Fate, string, error) {
	if _, err := fields.Leaves(v); err != nil {
		return "", "", err
	}
	name, ok := v.Get("name")
	if !ok {
		return "", "", v.Refusef("no name, want %s or %s", verdict.SuccessRate, verdict.RequestDuration)
	}
	limit, ok := v.Get("threshold")
	if !ok {
		return "", "", v.Refusef("no threshold, want one")
	}
	switch name.Text() {
	case verdict.SuccessRate:
		return bound("success-rate")(b, limit)
	case verdict.RequestDuration:
		return bound("request-duration")(b, limit)
	}
	return "", "", name.Refusef("%q, want %s or %s", name.Text(), verdict.SuccessRate, verdict.RequestDuration)
}

// fields are those of a metric in a list.
var fields = importing.Rules[*block]{"name": unneeded, "threshold": unneeded, "interval": unneeded}
