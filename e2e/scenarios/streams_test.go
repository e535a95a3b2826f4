package scenarios

import (
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/run"
)

// TestStreamsAtWeightZero has requests of 25 s open to the canary when its run is cancelled, longer than the drain and
// what the application itself gives them. Its pods stay until the last one has ended.
func TestStreamsAtWeightZero(t *testing.T) {
	const open = 25 * time.Second
	p := released(t, 0)
	ended := make(chan struct{})
	var first sync.Once
	stop := p.send(load.Options{Host: p.app.Host, Rate: 10, Timeout: 2 * open, EachAnswer: func(a load.Answer) {
		if a.Version == string(trial.V2) {
			first.Do(func() { close(ended) })
		}
	}})
	p.behave(trial.V2, map[string]string{"DELAY": open.String()})
	second := p.startWith("second", map[string]string{"latency": "off", "weight-check": "off", "deadline": "5m",
		"time-box": "4m"})
	p.eventually("stage 20", func(s trial.State) bool { return s.Weight == 20 })
	select { // from now on one ends after the other
	case <-ended:
	case <-time.After(2 * open):
		t.Fatal("no request to the canary has ended")
	}
	if err := p.app.Patch(t.Context(), kube.PipelineRuns, second.Name, types.MergePatchType,
		`{"spec":{"status":"CancelledRunFinally"}}`); err != nil {
		t.Fatal(err)
	}
	p.eventually("weight 0", func(s trial.State) bool { return s.Weight == 0 })
	zero := time.Now()
	p.eventually("the target at rest", func(s trial.State) bool { return s.Target == 0 })
	took := time.Since(zero)
	p.ends(second, run.RolledBack, false)
	report := stop()
	answered := report.Total.Versions[string(trial.V2)].Requests
	t.Logf("%d requests of %s to the canary; its pods stayed for %s at weight 0", answered, open, took)
	if report.Total.Failed > 0 || answered < 10 || took < open-5*time.Second {
		t.Errorf("%d of %d requests failed, %d were the canary's, whose pods stayed for %s, want none failed, and at "+
			"least %s", report.Total.Failed, report.Total.Requests, answered, took, open-5*time.Second)
	}
}
