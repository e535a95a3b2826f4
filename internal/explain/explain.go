// Package explain says in words why a stage ended as it did, and what would have changed that.
package explain

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/report"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Explanation is why a run, and one stage of it, ended as they did.
type Explanation struct {
	Run     status.Run `json:"run"`
	Weights []Weight   `json:"stages,omitempty"` // all of the run
	Stage   *Stage     `json:"stage,omitempty"`  // that is explained; absent where the canary had no traffic
	Ended   []Task     `json:"tasks,omitempty"`  // that did not succeed, where there was no stage
	Notes   []string   `json:"notes,omitempty"`  // what is not known, and why
	Advice  string     `json:"advice,omitempty"`
}

// Weight is one that the run has set.
type Weight struct {
	Stage   int              `json:"stage"` // from 1
	Weight  parameter.Weight `json:"weight"`
	At      time.Time        `json:"at"`
	Verdict string           `json:"verdict,omitempty"`
}

// Task is one that did not succeed.
type Task struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// Stage is one that was judged.
type Stage struct {
	Number   int              `json:"stage"` // from 1
	Weight   parameter.Weight `json:"weight"`
	Begun    time.Time        `json:"begun"`
	Took     float64          `json:"took,omitempty"` // seconds to the verdict
	Decision verdict.Decision `json:"verdict,omitempty"`
	Code     string           `json:"reason,omitempty"`
	Text     string           `json:"text,omitempty"`    // a sentence with the numbers
	Meaning  string           `json:"meaning,omitempty"` // of the code

	Compared  *Compared   `json:"compared,omitempty"`
	Evidence  []Evidence  `json:"evidence,omitempty"`
	Limits    []Limit     `json:"limits,omitempty"`
	Checks    []Check     `json:"checks,omitempty"`
	Otherwise []Otherwise `json:"otherwise,omitempty"`
}

// told is what is known of a run.
type told struct {
	Known
	e     Explanation
	stage run.Stage
	index int
}

// Of explains a stage of a run, counted from 1; 0 is the last one.
func Of(k Known, number int) (Explanation, error) {
	t := told{Known: k, e: Explanation{Run: k.Run}}
	for i, s := range k.Stages {
		w := Weight{Stage: i + 1, Weight: s.Weight, At: s.At}
		if task, ok := k.taskOf(s); ok {
			w.Verdict = task.Verdict
		}
		t.e.Weights = append(t.e.Weights, w)
	}
	switch {
	case number < 0 || number > len(k.Stages):
		return t.e, failure.Configf("explaining stage %d of run %s: %s", number, k.Run.ID.Name, t.has())
	case len(k.Stages) == 0:
		t.unstaged()
		return t.e, nil
	case number == 0:
		number = len(k.Stages)
	}
	t.index, t.stage = number-1, k.Stages[number-1]
	t.staged()
	return t.e, nil
}

// has says which stages there are.
func (t told) has() string {
	if len(t.Stages) == 0 {
		return "its canary had no traffic: leave the stage out to see what ended it"
	}
	var all []string
	for i, s := range t.Stages {
		all = append(all, fmt.Sprintf("%d (weight %d)", i+1, s.Weight))
	}
	return "it had " + strings.Join(all, ", ")
}

// unstaged tells what ended a run whose canary had no traffic.
func (t *told) unstaged() {
	for _, task := range t.Tasks {
		if !task.Ended.IsZero() && task.State != "Succeeded" && task.State != "Completed" {
			t.e.Ended = append(t.e.Ended, Task{task.Name, task.State, task.Reason})
		}
	}
	if t.Run.Ended.IsZero() {
		t.note("the run goes on, and the canary has had no traffic so far: tkn canary watch %s follows it", t.Run.App)
	}
	t.e.Advice = t.advice("")
}

func (t *told) note(format string, args ...any) {
	t.e.Notes = append(t.e.Notes, fmt.Sprintf(format, args...))
}

// staged explains a stage: by the report, else by what its task has left, else by the record.
func (t *told) staged() {
	s := &Stage{Number: t.index + 1, Weight: t.stage.Weight, Begun: t.stage.At}
	t.e.Stage = s
	task, ran := t.taskOf(t.stage)
	if ran {
		s.Decision = verdict.Decision(task.Verdict)
		s.Code, s.Text = reasonOf(task.Reason)
	} else if t.last() {
		s.Decision = t.Verdict
		s.Code, s.Text = reasonOf(t.Run.Reason)
	}
	if t.Report != nil && t.Report.Verdict != nil && len(t.Report.Verdict.Stages) == len(t.Stages) {
		t.reported(s, task, *t.Report.Verdict)
	} else {
		t.remembered(s, task)
	}
	s.Meaning = report.Meaning(s.Code)
	if s.Decision == verdict.Wait && t.Run.Ended.IsZero() && t.last() {
		t.note("the stage goes on: tkn canary watch %s follows it", t.Run.App)
	}
	if s.Decision != verdict.Pass {
		t.e.Advice = t.advice(s.Code)
	}
}

// reasonOf is the code and the text of a reason, which may have no code.
func reasonOf(text string) (code, sentence string) {
	if code, sentence, ok := strings.Cut(text, ": "); ok && !strings.Contains(code, " ") {
		return code, sentence
	}
	return "", text
}

// last says whether the stage is the last of the run.
func (t told) last() bool { return t.index == len(t.Stages)-1 }

// remembered explains by the evidence that a task has left, without a report.
func (t *told) remembered(s *Stage, task status.Task) {
	switch {
	case t.Run.Ended.IsZero():
		t.note("the report with all numbers is written when the run ends: until then there is what each stage has left")
	case t.Pruned:
		t.note("the PipelineRun is gone, and with it the report and what the stages had counted: what stays is the " +
			"record of the application. While Prometheus has the samples, tkn canary replay judges it anew")
	default:
		t.note("the run left no report: the step report of its last task, finish, says why (tkn canary logs %s --run "+
			"%s --task finish)", t.Run.App, t.Run.ID.Name)
	}
	e := task.Evidence
	if e == nil {
		return
	}
	s.Took = e.Since
	if e.Canary[1]+e.Primary[1] == 0 {
		return
	}
	s.Compared = &Compared{Canary: e.Canary[1], Primary: e.Primary[1], Shares: []Compare{{
		What: "failed", Canary: armOf(e.Canary), Primary: armOf(e.Primary)}}}
	s.Evidence = []Evidence{{What: "failed", Blame: e.Blame, Acquit: e.Acquit}}
	t.note("what would have changed the verdict can be computed from the report alone")
}

// reported explains by the report.
func (t *told) reported(s *Stage, task status.Task, v verdict.Verdict) {
	begun, ended := v.Stages[t.index].At, v.At // by Prometheus's clock
	if !t.last() {
		ended = v.Stages[t.index+1].At
		if task.Evidence != nil {
			ended = begun.Add(seconds(task.Evidence.Since))
		}
	} else {
		s.Decision, s.Code, s.Text = v.Decision, v.Code, v.Text
		t.e.Notes = append(t.e.Notes, v.Warnings...)
	}
	s.Took = ended.Sub(begun).Seconds()
	if v.Weighed == nil {
		t.checked(s, v)
		return
	}
	w, err := evidenceOf(v)
	if err == nil && !t.last() {
		w = w.upTo(ended, t.index)
		if s.Code != sequential.Healthy {
			w.rules.Gate = sequential.TimeBox // only the last stage has to prove
		}
		v = w.verdict(v, ended, t.index)
		s.concluded(v)
	}
	if err != nil && !t.last() {
		t.note("what stage %d had counted cannot be told: %s", s.Number, err)
		t.remembered(s, task)
		return
	}
	s.compare(v)
	switch {
	case err != nil:
		t.note("what would have changed the verdict cannot be computed: %s", err)
	case s.Code == sequential.HardFailure && v.Hard != nil:
		s.Otherwise = hardly(*v.Hard)
	case s.Code == sequential.LimitBroken:
		s.Otherwise = limited(v.Limits)
	case s.Code == sequential.TrafficNotShifted && v.Share.Seen != nil:
		s.Otherwise = unshifted(v)
	default:
		v.Code = s.Code
		if s.Otherwise = otherwise(v, w); len(s.Otherwise) == 0 && weighs.Has(s.Code) {
			t.note("what would have changed the verdict cannot be computed: weighed again, the report's intervals do " +
				"not lead to it")
		}
	}
}

// weighs are the reasons that the pots alone lead to.
var weighs = sets.New(sequential.Worse, sequential.Slower, sequential.Healthy, sequential.BoxedTime)

// concluded takes over a verdict where the task has left none.
func (s *Stage) concluded(v verdict.Verdict) {
	if s.Code == "" {
		s.Code, s.Text = v.Code, v.Text
	}
	s.Decision = cmp.Or(s.Decision, v.Decision)
}

// verdict is that of an earlier stage: the run went on after it.
func (w weighed) verdict(of verdict.Verdict, at time.Time, stage int) verdict.Verdict {
	f := w.weigh()
	decision, code := w.rules.Decide(w.standing(f))
	v := verdict.New(of.Target, of.Stages[:stage+1], at)
	v.Stage.Deadline, v.Threshold = of.Stage.Deadline, of.Threshold
	v.ConcludeWeighing(decision, code, verdict.Weighing{Findings: f, Rules: w.rules, Start: w.start, Grid: w.Grid,
		History: w.History, Basis: w.Basis, Together: w.Together, Metric: "", Reporter: of.Target.Reporter,
		Split: of.Target.Split})
	return v
}
