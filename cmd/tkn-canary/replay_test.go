package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// rollout is what a Prometheus counts of an application that is released at 20 % at noon: one request in twenty fails.
func rollout(namespace, app string) []prometheustest.Series {
	noon := time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC)
	arm := func(workload, service, code string, from time.Duration, rate float64) prometheustest.Series {
		labels := fmt.Sprintf(`istio_requests_total{reporter="source",pod="gateway-1",response_code="%s",`+
			`destination_workload="%s",destination_workload_namespace="%s",`+
			`destination_service_name="%s",destination_service_namespace="%[3]s"}`, code, workload, namespace, service)
		begin, end := noon.Add(from+time.Second), noon.Add(10*time.Minute)
		return prometheustest.Steady(labels, begin, end, 5*time.Second, 5*rate, 5*rate)
	}
	return []prometheustest.Series{
		arm(app, app+"-canary", "200", 0, 19), arm(app, app+"-canary", "503", 0, 1),
		arm(app+"-primary", app+"-primary", "200", -16*time.Minute, 80),
	}
}

// TestReplayScripts has a Prometheus that saw reviews released.
func TestReplayScripts(t *testing.T) {
	url := prometheustest.Start(t, rollout("shop", "reviews")...)
	testscript.Run(t, testscript.Params{Dir: "testdata/prometheus", Setup: func(env *testscript.Env) error {
		env.Setenv("PROMETHEUS", url)
		return nil
	}, UpdateScripts: os.Getenv("UPDATE") != ""})
}

// Each parameter of the judges and of Prometheus is a flag of the same name and default.
func TestFlagsAreTheParametersOfTheSteps(t *testing.T) {
	want := map[string]string{
		"time-box": "120s", "min-dwell": "30s", "alpha": "0.01", "error-codes": "5..", "latency-objective": "",
		"replica-labels": "", "interval": "60s", "threshold": "1", "metrics": "", "variables": "{}",
		"reporter": "auto", "prometheus-token-path": "", "prometheus-ca-path": "",
	}
	for _, p := range append(parameter.Of(judge.Config{}), parameter.Of(prometheus.Config{})...) {
		want[p.Name] = p.Default
	}
	for _, name := range []string{"judge", "mode", "as-of", "report"} { // which are of no use here
		delete(want, name)
	}
	want["gate"] = "" // each stage has its own
	for _, name := range []string{"replay", "record"} {
		cmd, _, err := root().Find([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		for parameter, value := range want {
			flag := cmd.Flags().Lookup(parameter)
			if flag == nil {
				t.Errorf("%s has no --%s", name, parameter)
			} else if flag.DefValue != value {
				t.Errorf("--%s of %s is %q by default, want %q", parameter, name, flag.DefValue, value)
			}
		}
	}
}

func TestDescriptionsAreThoseOfTheTask(t *testing.T) {
	for _, name := range []string{"interval", "threshold", "prometheus-url"} {
		if descriptions()[name] == "" {
			t.Errorf("--%s has no description", name)
		}
	}
}
