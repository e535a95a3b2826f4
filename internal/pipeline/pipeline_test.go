package pipeline_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/timeout"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/tasks"
)

// TestAnyNumberOfStagesFitsIntoTektonsHour or is refused.
func TestAnyNumberOfStagesFitsIntoTektonsHour(t *testing.T) {
	known, err := pipeline.ReadTasks(tasks.Files)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 12; n++ {
		p := pipeline.Shipped()
		p.Weights = nil
		for i := range n {
			p.Weights = append(p.Weights, 1+i*8)
		}
		canary, err := pipeline.Render(known, p)
		if err != nil {
			if n < 8 {
				t.Errorf("%d stages: %v", n, err)
			}
			continue
		}
		if _, err := pipeline.Write(t.Context(), p.Comment(), canary); err != nil {
			t.Errorf("%d stages: %v", n, err)
		}
		total := canary.Spec.Finally[0].Timeout.Duration
		for _, task := range canary.Spec.Tasks {
			total += task.Timeout.Duration
		}
		if total >= time.Hour {
			t.Errorf("%d stages may take %s in all, want less than 1h", n, total)
		}
	}
}

func TestAMissingTaskIsAnError(t *testing.T) {
	_, err := pipeline.Render(pipeline.Tasks{}, pipeline.Shipped())
	if err == nil || err.Error() != "rendering a Pipeline: no Task canary-prepare" {
		t.Errorf("error %v, want that there is no Task canary-prepare", err)
	}
}

// TestARunFitsByDefault reads the parameters' defaults and the time-outs of rendered Pipelines as prepare does.
func TestARunFitsByDefault(t *testing.T) {
	known, err := pipeline.ReadTasks(tasks.Files)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]func(*pipeline.Plan){
		"as shipped":    func(*pipeline.Plan) {},
		"in one pod":    func(p *pipeline.Plan) { *p = pipeline.ShippedCompact() },
		"slow pods":     func(p *pipeline.Plan) { p.ProgressDeadline, p.Deadline = 20*time.Minute, 7*time.Minute },
		"long stages":   func(p *pipeline.Plan) { p.StageTimeout = 2 * time.Hour },
		"a long drain":  func(p *pipeline.Plan) { p.Weights, p.Drain = []int{50}, 3*time.Minute },
		"a long queue":  func(p *pipeline.Plan) { p.BusyTimeout, p.Deadline = 2*time.Hour, 10*time.Minute },
		"odd intervals": func(p *pipeline.Plan) { p.Interval = 67 * time.Second },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			plan := pipeline.Shipped()
			change(&plan)
			rendered, err := pipeline.Render(known, plan)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pipeline.Write(t.Context(), plan.Comment(), rendered); err != nil {
				t.Fatal(err)
			}
			given := map[string]time.Duration{}
			for _, p := range rendered.Spec.Params {
				if p.Default != nil {
					given[p.Name], _ = time.ParseDuration(p.Default.StringVal) // others are no times
				}
			}
			passed := rendered.Spec.Tasks[0].Params
			i := slices.IndexFunc(passed, func(p tekton.Param) bool { return p.Name == "timeouts" })
			var timeouts timeout.Tasks
			if err := timeouts.EnvDecode(passed[i].Value.StringVal); err != nil {
				t.Fatal(err)
			}
			want := map[string]time.Duration{"prepare": timeouts.Prepare, "promote": timeouts.Promote,
				"finish": timeouts.Finish, "release": timeouts.Release}
			for _, task := range slices.Concat(rendered.Spec.Tasks, rendered.Spec.Finally) {
				limit := want[task.Name]
				if strings.HasPrefix(task.Name, "stage-") {
					limit = timeouts.Stage
				}
				if task.Name == "stage-"+strconv.Itoa(plan.Weights[len(plan.Weights)-1]) {
					limit = timeouts.Prove
				}
				if task.Timeout.Duration != limit {
					t.Errorf("task %s may take %s, prepare is told %s", task.Name, task.Timeout.Duration, limit)
				}
			}
			need := timeout.Need{Busy: given["busy-timeout"], Progress: given["progress-deadline"],
				Drain: given["drain"]}
			rules := judge.Config{Judge: verdict.Sequential, Deadline: parameter.Span(given["deadline"])}
			need.Deadline, need.Prove = rules.Longest()
			if err := timeouts.Check(need); err != nil {
				t.Error(err)
			}
		})
	}
}
