package scale

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestEveryEnding plays few applications, and every way to end.
func TestEveryEnding(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an API server, Prometheus and hundreds of programs")
	}
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("prometheus is not installed: on Debian, apt-get install prometheus")
	}
	report, err := Run(t.Context(), Options{Apps: 6, Interval: 10 * time.Second, Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range report.Missed() {
		t.Errorf("%s: %v %s, want at most %v", row.What, row.Got, row.Unit, row.Want)
	}
	got := map[string]float64{}
	for _, row := range report.Rows {
		got[row.What] = row.Got
	}
	if n := got[mostAtOnce]; n != 5 {
		t.Errorf("%v releases were open at once, want all 5 that have something to release", n)
	}
	if n := got[conflicts]; n < 1 {
		t.Error("no write met a conflict, want one of the release whose route is edited")
	}
	if len(report.Calls) != 1 || report.Calls[0].Total < 30 {
		t.Errorf("calls %+v, want those of a whole release", report.Calls)
	}
}

func TestEndingsAreAMix(t *testing.T) {
	count := map[string]int{}
	for _, e := range endings(500) {
		count[e.name]++
	}
	if count[bad.name] != 50 || count[unchanged.name] != 10 || count[unattended.name] != 10 ||
		count[halfway.name] != 10 || count[edited.name] != 10 || count[healthy.name] != 410 {
		t.Errorf("endings %v", count)
	}
}

// TestStepsGetWhatTheirTaskSays looks at one step of the Task as it is shipped.
func TestStepsGetWhatTheirTaskSays(t *testing.T) {
	c, err := readCatalog("../..")
	if err != nil {
		t.Fatal(err)
	}
	task := c.tasks["canary-stage"]
	v, err := parameters(task.Name, task.Spec.Params, map[string]string{"app": "shop", "weight": "20"})
	if err != nil {
		t.Fatal(err)
	}
	v["context.taskRun.namespace"] = "team"
	for _, result := range task.Spec.Results {
		v["results."+result.Name+".path"] = "/results/" + result.Name
	}
	env, err := v.environment(task.Spec.StepTemplate.Env, task.Spec.Steps[0],
		map[string]string{"metadata.namespace": "team"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PARAM_WEIGHT=20", "PARAM_PRIMARY=shop-primary", "RUN_NAMESPACE=team",
		"RESULT_VERDICT=/results/verdict", "PARAM_GATE=prove"} {
		if !slices.Contains(env, want) {
			t.Errorf("the environment lacks %s: %v", want, env)
		}
	}
	_, err = parameters(task.Name, task.Spec.Params, map[string]string{"app": "shop"})
	if err == nil || !strings.Contains(err.Error(), "parameter weight has no value") {
		t.Errorf("without a weight: %v", err)
	}
	if _, err := v.expand("$(params.none)"); err == nil || !strings.Contains(err.Error(), "$(params.none)") {
		t.Errorf("an unknown reference: %v", err)
	}
}

func TestTrafficIsCountedAsTheRouteSays(t *testing.T) {
	a := &app{ending: bad}
	a.Name, a.Namespace = "shop", "team"
	f := &flow{app: a, series: newTraffic([]*app{a}).order[0].series}
	now := time.Now()
	f.count(now)
	if text := f.write(nil); len(text) != 0 {
		t.Errorf("without a route something was counted: %s", text)
	}
	f.routed, f.weight = true, 0.2
	f.count(now.Add(30 * time.Second))
	text := string(f.write(nil))
	for _, want := range []string{
		`destination_workload="shop-primary",destination_workload_namespace="team",response_code="200"} 2396`,
		`destination_service_name="shop-canary",destination_service_namespace="team",destination_workload="shop",destination_workload_namespace="team",response_code="503"} 200`,
		`response_code="200",le="+Inf"} 600`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the counters lack %s:\n%s", want, text)
		}
	}
}
