package catalog

import (
	"fmt"
	"maps"
	"slices"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/serin-cd/serin/internal/pipeline"
)

// task is what a Task has beside the parameters of its steps.
type task struct {
	name        string
	title       string
	description string
	results     []result
	steps       []step
	workspaces  []tekton.WorkspaceDeclaration
	account     string // what its account may do, in a sentence; empty: what config/rbac.yaml says
}

type result struct {
	name, description string
	from              string // where the value comes from; empty: a step writes it
}

// step is one use of a step program.
type step struct {
	name    string // empty: the program's
	program string
	results map[string]string // name to path
	fixed   map[string]string // parameters that the Task sets itself
	when    []string          // outcomes of prepare-canary, of which it must be one
	keepOn  bool              // later steps run even if this one fails
}

func (s step) label() string {
	if s.name != "" {
		return s.name
	}
	return s.program
}

// derived are the parameters that follow from others wherever they are used.
var derived = map[string]string{
	"namespace": "$(context.taskRun.namespace)",
	"canary":    "$(params.app)",
	"primary":   "$(params.app)-primary",
}

// leftOut are parameters for judging a release again at one's desk; in a Task they would only confuse.
var leftOut = []string{"rollout", "as-of", "report", "canary-service", "primary-service"}

// toTask asks a step to write results of the Task.
func toTask(names ...string) map[string]string { return paths("$(results.", names) }

// toStep asks a step to write results of its own, which later steps read.
func toStep(names ...string) map[string]string { return paths("$(step.results.", names) }

func paths(of string, names []string) map[string]string {
	all := map[string]string{}
	for _, n := range names {
		all[n] = of + n + ".path)"
	}
	return all
}

var (
	revision = result{name: "revision", description: "The first 12 hex digits of the revision, the sha256 of " +
		"the target's pod template; none if the run was superseded."}
	verdict = result{name: "verdict", description: "pass, fail or inconclusive."}
	reason  = result{name: "reason", description: "A code, a colon, and a sentence with the numbers; at most " +
		"512 bytes."}
	why = result{name: "reason", description: "Why the task failed: config or error, a colon, and a " +
		"sentence; at most 512 bytes. Empty if it did not fail."}
	outcome = result{name: "outcome", description: "proceed: there is a canary to judge. promote: there is one to " +
		"promote without analysis. initialized: this was the first release, and it serves. unchanged: the primary " +
		"runs this revision already. superseded: a newer run has the application or waits for it."}

	// toTurn tells the step after acquire-lease whether it is the run's turn.
	toTurn = toStep("turn")
	turn   = "$(steps.acquire-lease.results.turn)"
)

// tasks are all of Serin's, in the order in which a Pipeline runs them.
var tasks = []task{
	{
		name: "canary-prepare", title: "Prepare a canary",
		description: "Makes sure that no other run is at work on the application, brings the application to rest, " +
			"and starts the canary of a new revision. At the first release it makes the primary, the Services " +
			"and the route; there is no canary then.",
		results: []result{outcome, revision, why},
		steps: []step{
			{program: "acquire-lease", results: both(toTurn, toTask("reason"))},
			{
				program: "prepare-canary", fixed: map[string]string{"turn": turn},
				results: toTask("outcome", "revision", "reason"),
			},
		},
	},
	{
		name: "canary-stage", title: "Judge a canary at one weight",
		description: "Gives the canary a share of the application's traffic and judges it. On anything but a pass " +
			"it takes the traffic back, then fails.",
		results: []result{verdict, reason, {
			name: "evidence", description: "The numbers behind the verdict, as compact JSON.",
		}},
		steps: []step{
			{program: "shift-weight", results: toTask("verdict", "reason")},
			{program: "analyze-metrics", results: toTask("verdict", "reason", "evidence")},
		},
	},
	{
		name: "canary-promote", title: "Promote a canary",
		description: "Gives the primary the revision that was judged, waits until it is ready while the canary " +
			"keeps its share, and then routes all traffic to it.",
		results: []result{{name: "outcome", description: "promoted."}, revision, why},
		steps:   []step{{program: "promote-primary", results: toTask("outcome", "revision", "reason")}},
	},
	{
		name: "canary-finish", title: "Finish a canary",
		description: "Takes a run back that did not end by itself, settles one that did, and keeps its report. It " +
			"belongs in finally, with retries: running it twice changes nothing.",
		results: []result{
			{name: "outcome",
				description: "initialized, unchanged, promoted, rolled-back, superseded, refused or failed."},
			{name: "reason", description: "Why, in a sentence."},
		},
		steps: []step{
			{program: "rollback", results: both(toTask("outcome", "reason"), toStep("settled")), keepOn: true},
			{program: "report", keepOn: true},
			{program: "release-lease", fixed: map[string]string{"settled": "$(steps.rollback.results.settled)"}},
		},
	},
	compact(pipeline.Weights),
	{
		name: "start-release", title: "Release what has changed",
		description: "Finds the applications of its namespace whose Deployment holds another revision than their " +
			"primary, starts one run of a Pipeline for each of them, and waits until all have ended. It fails if one " +
			"was taken back. A revision that is told of twice is released once. If the task is cancelled, so are the " +
			"runs: they give the traffic back. It does not matter who has changed the Deployment: a task before this " +
			"one, Argo CD or Flux.",
		results: []result{
			{name: "apps", description: "Applications that were released, separated by commas, as far as there is " +
				"room; empty if nothing has changed."},
			{name: "runs", description: "PipelineRuns that released them, in the same order."},
			{name: "failed", description: "Applications whose canary was judged and failed, or could not be judged, " +
				"separated by commas: their environment holds a version that does not serve."},
			{name: "verdict", description: "pass if all were released, fail if one was judged to be bad, else " +
				"inconclusive."},
			{name: "reason", description: "Why the task failed: rejected, inconclusive, config or error, a colon, " +
				"and a sentence; at most 512 bytes. Empty if it did not fail."},
		},
		steps: []step{{program: "start-release", results: toTask("apps", "runs", "failed", "verdict", "reason")}},
		account: "Its ServiceAccount needs the rights of " +
			"[pipelines/environment/samples/rbac.yaml](../../pipelines/environment/samples/rbac.yaml).",
	},
}

func both(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// prepared is the outcome of prepare-canary in the same pod.
const prepared = "$(steps.prepare-canary.results.outcome)"

// compact is a whole release in one pod.
func compact(weights []int) task {
	t := task{
		name: "canary-compact", title: "Release by canary in one pod",
		description: "Does what canary-prepare, canary-stage and canary-promote do, one after the other in one " +
			"pod. It is about 3 s a stage faster, and the stages show only in its log. Use it through the " +
			"Pipeline canary-compact, which also finishes the run.",
		results: []result{
			{name: outcome.name, description: outcome.description, from: prepared},
			{name: revision.name, description: revision.description, from: "$(steps.prepare-canary.results.revision)"},
			verdict, reason,
		},
		steps: []step{
			{program: "acquire-lease", results: toTurn},
			{
				program: "prepare-canary", fixed: map[string]string{"turn": turn, "gate": pipeline.Gate(false)},
				results: toStep("outcome", "revision"),
			},
		},
	}
	judged := []string{pipeline.Judged}
	for i, w := range weights {
		share := map[string]string{"weight": fmt.Sprint(w)}
		gate := map[string]string{"gate": pipeline.Gate(i == len(weights)-1)}
		t.steps = append(t.steps,
			step{
				name: fmt.Sprintf("shift-%d", w), program: "shift-weight", when: judged, fixed: share,
				results: toTask("verdict", "reason"),
			},
			step{
				name: fmt.Sprintf("analyze-%d", w), program: "analyze-metrics", when: judged, fixed: gate,
				results: toTask("verdict", "reason"),
			})
	}
	t.steps = append(t.steps, step{program: "promote-primary", when: []string{pipeline.Judged, pipeline.Unjudged}})
	return t
}

// parameters are those of all steps. Where two steps have the same one, the first describes it; they
// must agree on its default.
func (t task) parameters(root string) ([]Parameter, error) {
	var all []Parameter
	for _, s := range t.steps {
		of, err := Parameters(root, s.program)
		if err != nil {
			return nil, err
		}
		for _, p := range of {
			_, fixed := s.fixed[p.Name]
			if fixed || derived[p.Name] != "" || slices.Contains(leftOut, p.Name) {
				continue
			}
			i := slices.IndexFunc(all, func(q Parameter) bool { return q.Name == p.Name })
			if i < 0 {
				all = append(all, p)
			} else if q := all[i]; q.Default != p.Default || q.Required != p.Required {
				return nil, fmt.Errorf("parameter %s of %s: %s has default %q, an earlier step %q: want one",
					p.Name, t.name, s.program, p.Default, q.Default)
			}
		}
	}
	return all, nil
}

// budget is what the results of one step may hold together, in bytes: Kubernetes divides 12 KiB among
// the containers of a pod, of which Tekton adds two and needs 512 bytes in each.
func (t task) budget() int { return min(4096, 12288/(len(t.steps)+2)) - 512 }

// derivedBy are the parameters that any step of the Task derives from others.
func (t task) derivedBy(root string) ([]string, error) {
	used := map[string]bool{}
	for _, s := range t.steps {
		of, err := Parameters(root, s.program)
		if err != nil {
			return nil, err
		}
		for _, p := range of {
			used[p.Name] = used[p.Name] || derived[p.Name] != ""
		}
	}
	maps.DeleteFunc(used, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(used)), nil
}
