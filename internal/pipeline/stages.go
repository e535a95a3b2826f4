// Package pipeline writes the Pipeline that releases by canary at a list of weights.
package pipeline

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/serin-cd/serin/internal/manifest"
)

// hour is Tekton's default timeout of a PipelineRun. A run that exceeds it ends without its finally.
const hour = time.Hour

// The timeouts of the tasks, each above the deadlines of its steps at default parameters.
const (
	prepareTimeout  = 7 * time.Minute // a minute of it to wait for another run
	longestStage    = 9 * time.Minute
	shortestStage   = 3 * time.Minute
	promoteTimeout  = 5 * time.Minute
	finishTimeout   = 6 * time.Minute
	finishRetries   = 2
	reserve         = time.Minute // for Tekton itself
	besidesTheStage = prepareTimeout + promoteTimeout + (1+finishRetries)*finishTimeout + reserve
)

// defaults are the parameters whose default in a Pipeline differs from that in its Tasks: a check a minute,
// five failures, the bounds, and a canary without traffic that is not judged, rather than failed.
var defaults = map[string]string{"interval": "1m", "threshold": "5", "deadline": "7m", "no-values": "inconclusive", "success-rate": "99", "request-duration": "1000"}

// always are the parameters that a Pipeline sets in each Task that does not set them otherwise.
var always = map[string]string{"min-dwell": "$(params.interval)", "gate": gate(false)}

// gate is what a stage needs to pass: an early one limits the damage, the last one proves.
func gate(last bool) string {
	if last {
		return "prove"
	}
	return "time-box"
}

// Tasks are the Tasks that Pipelines are made of, by name.
type Tasks map[string]manifest.Object

// Read reads the Tasks of a file system that has them as NAME/NAME.yaml.
func Read(files fs.FS) (Tasks, error) {
	names, err := fs.Glob(files, "*/*.yaml")
	if err != nil {
		return nil, err
	}
	all := Tasks{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		task, err := manifest.Read(text)
		if err != nil {
			return nil, fmt.Errorf("reading Task %s: %w", name, err)
		}
		all[task.Metadata.Name] = task
	}
	return all, nil
}

// Pipeline is what may be chosen.
type Pipeline struct {
	Name         string
	Weights      []int         // percent, ascending
	StageTimeout time.Duration // 0: what fits into Tekton's hour
	BusyTimeout  time.Duration // how long a run may wait for another; 0: a minute
}

// waits is how much longer than by default a run may wait for another.
func (p Pipeline) waits() time.Duration { return max(p.BusyTimeout, time.Minute) - time.Minute }

// Compact is the Pipeline that does all in one pod, before finally.
func Compact(tasks Tasks) ([]byte, error) {
	b := builder{tasks: tasks}
	release := b.task("release", "Release by canary", "canary-compact", hour-reserve-(1+finishRetries)*finishTimeout)
	o := manifest.Object{
		APIVersion: "tekton.dev/v1", Kind: "Pipeline", Metadata: manifest.About("canary-compact", "Canary release in one pod"),
		Spec: manifest.Spec{
			DisplayName: "Canary release in one pod",
			Description: "Releases a new version of an application to 20, 40 and 60 % of its traffic, as the Pipeline canary does, in a single task: it is faster by some 3 s a stage. The weights show in its log.",
			Tasks:       []manifest.PipelineTask{release},
			Finally:     []manifest.PipelineTask{b.finish("release", "release")},
			Results:     results("release"),
		},
	}
	return b.write(o, "# Generated: run `make generate`.\n")
}

// Render is the Pipeline with one task for each weight.
func Render(tasks Tasks, p Pipeline) ([]byte, error) {
	timeout, err := p.check()
	if err != nil {
		return nil, err
	}
	b := builder{tasks: tasks, defaults: map[string]string{"busy-timeout": short(p.waits() + time.Minute)}}
	all := []manifest.PipelineTask{b.task("prepare", "Prepare the canary", "canary-prepare", prepareTimeout+p.waits())}
	add := func(t manifest.PipelineTask) {
		t.RunAfter = []string{all[len(all)-1].Name}
		t.When = []manifest.When{{Input: "$(tasks.prepare.results.outcome)", Operator: "in", Values: []string{"proceed"}}}
		all = append(all, t)
	}
	for _, w := range p.Weights {
		b.fixed = map[string]string{"weight": fmt.Sprint(w), "gate": gate(w == p.Weights[len(p.Weights)-1])}
		add(b.task(fmt.Sprintf("stage-%d", w), fmt.Sprintf("Traffic to %d %%", w), "canary-stage", timeout))
	}
	add(b.task("promote", "Promote the canary", "canary-promote", promoteTimeout))
	return b.write(manifest.Object{
		APIVersion: "tekton.dev/v1", Kind: "Pipeline", Metadata: manifest.About(p.Name, "Canary release"),
		Spec: manifest.Spec{
			DisplayName: "Canary release",
			Description: p.describe(),
			Tasks:       all,
			Finally:     []manifest.PipelineTask{b.finish("prepare", "promote")},
			Results:     results("prepare"),
		},
	}, p.comment())
}

func (p Pipeline) check() (time.Duration, error) {
	if p.Name == "" || len(p.Name) > 63 || strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(p.Name, "-") != p.Name {
		return 0, fmt.Errorf("rendering a Pipeline: name %q, want lowercase letters, digits and dashes", p.Name)
	}
	if len(p.Weights) == 0 {
		return 0, fmt.Errorf("rendering %s: no weights, want at least one", p.Name)
	}
	last := 0
	for _, w := range p.Weights {
		if w < 1 || w > 99 {
			return 0, fmt.Errorf("rendering %s: weight %d, want 1 to 99", p.Name, w)
		}
		if w <= last {
			return 0, fmt.Errorf("rendering %s: weight %d after %d, want them ascending", p.Name, w, last)
		}
		last = w
	}
	if p.StageTimeout != 0 {
		if p.StageTimeout < shortestStage {
			return 0, fmt.Errorf("rendering %s: stage timeout %s, want at least %s", p.Name, p.StageTimeout, shortestStage)
		}
		return p.StageTimeout, nil
	}
	fits := ((hour - besidesTheStage - p.waits()) / time.Duration(len(p.Weights))).Truncate(time.Minute)
	if fits < shortestStage {
		return 0, fmt.Errorf("rendering %s: %d stages leave less than %s each of the hour that Tekton gives a run by default: set a stage timeout, and timeouts.pipeline in each PipelineRun", p.Name, len(p.Weights), shortestStage)
	}
	return min(fits, longestStage), nil
}

func (p Pipeline) describe() string {
	shares := strings.Trim(fmt.Sprint(p.Weights), "[]")
	if n := len(p.Weights) - 1; n > 0 {
		shares = strings.ReplaceAll(strings.Trim(fmt.Sprint(p.Weights[:n]), "[]"), " ", ", ") + fmt.Sprintf(" and %d", p.Weights[n])
	}
	return "Releases a new version of an application to " + shares + " % of its traffic, one stage after the other, judges it at each, and promotes it or takes it back. The run fails when the canary is rejected: the primary then serves everyone, as before."
}

func (p Pipeline) comment() string {
	weights := strings.ReplaceAll(strings.Trim(fmt.Sprint(p.Weights), "[]"), " ", ",")
	text := "# Generated by `tkn canary render --weights " + weights
	if p.Name != "canary" {
		text += " --name " + p.Name
	}
	if p.waits() > 0 {
		text += " --busy-timeout " + short(p.BusyTimeout)
	}
	if p.StageTimeout == 0 {
		return text + "`.\n"
	}
	total := besidesTheStage + p.waits() + time.Duration(len(p.Weights))*p.StageTimeout
	text += fmt.Sprintf(" --stage-timeout %s`.\n", short(p.StageTimeout))
	if total > hour {
		text += fmt.Sprintf("# Start its runs with timeouts.pipeline of at least %s: after Tekton's default of 1h finally does not run.\n", short(total))
	}
	return text
}

// builder makes tasks and collects what they need from the Pipeline.
type builder struct {
	tasks      Tasks
	fixed      map[string]string // the parameters that the Pipeline sets itself
	defaults   map[string]string // that differ from those of the Tasks in this Pipeline
	params     []manifest.Param
	workspaces []manifest.Workspace
	err        error
}

func (b *builder) task(name, title, ref string, timeout time.Duration) manifest.PipelineTask {
	task, ok := b.tasks[ref]
	if !ok && b.err == nil {
		b.err = fmt.Errorf("rendering a Pipeline: no Task %s", ref)
	}
	t := manifest.PipelineTask{Name: name, DisplayName: title, TaskRef: manifest.Ref{Name: ref}, Timeout: short(timeout)}
	for _, p := range task.Spec.Params {
		value, fixed := b.fixed[p.Name]
		if !fixed {
			value, fixed = always[p.Name]
		}
		if !fixed {
			value = "$(params." + p.Name + ")"
			b.offer(p)
		}
		t.Params = append(t.Params, manifest.Param{Name: p.Name, Value: value})
	}
	for _, w := range task.Spec.Workspaces {
		if !slices.ContainsFunc(b.workspaces, func(o manifest.Workspace) bool { return o.Name == w.Name }) {
			b.workspaces = append(b.workspaces, manifest.Workspace{Name: w.Name, Description: w.Description, Optional: w.Optional})
		}
		t.Workspaces = append(t.Workspaces, manifest.Workspace{Name: w.Name, Workspace: w.Name})
	}
	return t
}

// offer makes a Task's parameter one of the Pipeline's.
func (b *builder) offer(p manifest.Param) {
	if slices.ContainsFunc(b.params, func(o manifest.Param) bool { return o.Name == p.Name }) {
		return
	}
	for _, all := range []map[string]string{defaults, b.defaults} {
		if d, ok := all[p.Name]; ok && p.Default != nil {
			p.Default = &d
		}
	}
	b.params = append(b.params, p)
}

// finish takes parameters and states only: a finally task that needs a result which is missing would be skipped.
func (b *builder) finish(prepare, promote string) manifest.PipelineTask {
	b.fixed = map[string]string{"prepare-status": "$(tasks." + prepare + ".status)", "promote-status": "$(tasks." + promote + ".status)"}
	t := b.task("finish", "Settle and report", "canary-finish", finishTimeout)
	t.Retries = finishRetries
	return t
}

func (b *builder) write(o manifest.Object, comment string) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	o.Spec.Params, o.Spec.Workspaces = b.params, b.workspaces
	return manifest.Write(comment, o)
}

func results(prepare string) []manifest.Result {
	return []manifest.Result{
		{Name: "outcome", Description: "initialized, unchanged, promoted, rolled-back or superseded.", Value: "$(finally.finish.results.outcome)"},
		{Name: "reason", Description: "Why, in a sentence.", Value: "$(finally.finish.results.reason)"},
		{Name: "revision", Description: "The first 12 hex digits of the revision that was to be released.", Value: "$(tasks." + prepare + ".results.revision)"},
	}
}

// short is a duration without zeros at its end.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
