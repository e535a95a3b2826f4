package explain

import (
	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/run"
)

// advices say what to do about a reason.
var advices = map[string]string{
	sequential.HardFailure: "look at the canary",
	sequential.Worse:       "look at the canary",
	sequential.Slower:      "look at the canary",
	sequential.LimitBroken: "look at the canary",
	verdict.Threshold:      "look at the metric that is named",
	verdict.WithoutValues:  "check that the canary has callers, and that Prometheus scrapes their proxies",
	sequential.NoTraffic: "check that the route has callers. With reporter destination a crashed pod " +
		"looks idle",
	sequential.NoPrimaryTraffic:  "use judge classic",
	sequential.TrafficNotShifted: "check that every caller has a proxy",
	sequential.CanarySilent:      "check that they run",
	sequential.NotComparable: "give both the same sidecar.istio.io/statsHistogramBuckets, or set " +
		"latency: off",
	sequential.PrimaryUnhealthy: "wait until it is over",
	sequential.Suspect:          "look, then try again",
	sequential.LowTraffic:       "set a higher weight, a longer deadline, or gate time-box",
	"unavailable":               "look at the canary's pods: kubectl describe tells why they are not ready",
	"restarts":                  "look at the canary's pods: kubectl logs --previous tells why they restarted",
	"route-changed":             "find out who writes the route, then start again",
	"target-changed":            "start again: the run released what is no longer wanted",
}

// advice says what to do about a stage's reason, or about how the run ended.
func (t told) advice(code string) string {
	if text, ok := advices[code]; ok {
		return text
	}
	switch t.Run.Outcome {
	case run.Refused:
		return "change what is named, then start again: nothing was changed. tkn canary doctor " + t.Run.App +
			" tells all of it beforehand"
	case run.Failed:
		return "start again once that is out of the way: the application serves as before"
	case run.Superseded:
		return "nothing: a newer run has the application"
	case run.RolledBack:
		return "start again if that was not the canary's fault"
	}
	return ""
}
