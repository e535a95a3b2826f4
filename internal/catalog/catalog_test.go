package catalog_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/catalog"
)

const (
	root   = "../.."
	images = "ko://github.com/serin-cd/serin/steps/"
)

func TestMain(m *testing.M) { apitest.Main(m) }

func TestFilesAreUpToDate(t *testing.T) {
	files, err := catalog.Files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		got, err := os.ReadFile(filepath.Join(root, f.Path))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(f.Text), string(got)); diff != "" {
			t.Errorf("%s is out of date, run `make generate` (-want +got):\n%s", f.Path, diff)
		}
	}
}

// TestParametersAreThoseOfTheSteps reads what a Task really passes on, whoever wrote it.
func TestParametersAreThoseOfTheSteps(t *testing.T) {
	for name, task := range read[tekton.Task](t, "Task") {
		t.Run(name, func(t *testing.T) {
			declared := map[string]tekton.ParamSpec{}
			for _, p := range task.Spec.Params {
				declared[p.Name] = p
			}
			used, described := map[string]bool{}, map[string]bool{}
			for _, step := range task.Spec.Steps {
				for _, p := range passed(t, task.Spec.StepTemplate.Env, step) {
					spec, ok := declared[p.Name]
					if !ok {
						t.Errorf("step %s reads parameter %s, which the Task does not declare", step.Name, p.Name)
						continue
					}
					used[p.Name] = true
					if (spec.Default == nil) != p.Required ||
						spec.Default != nil && spec.Default.StringVal != p.Default {
						t.Errorf("parameter %s has default %v, the step %q", p.Name, spec.Default, p.Default)
					}
					described[p.Name] = described[p.Name] || spec.Description == p.Description
				}
			}
			for name := range declared {
				if !used[name] {
					t.Errorf("no step reads parameter %s", name)
				}
				if !described[name] {
					t.Errorf("parameter %s is described by no step as %q", name, declared[name].Description)
				}
			}
		})
	}
}

// passed are the parameters of a step that its Task passes on as they are. The others must be set.
func passed(t *testing.T, common []corev1.EnvVar, step tekton.Step) []catalog.Parameter {
	t.Helper()
	wanted, err := catalog.Parameters(root, strings.TrimPrefix(step.Image, images))
	if err != nil {
		t.Fatal(err)
	}
	ofTheDesk := []string{"rollout", "as-of", "report", "canary-service", "primary-service"}
	given := variables(common, step.Env)
	return slices.DeleteFunc(wanted, func(p catalog.Parameter) bool {
		value, set := given[p.Variable()]
		if !set && !slices.Contains(ofTheDesk, p.Name) {
			t.Errorf("step %s reads %s, which the Task does not set", step.Name, p.Variable())
		}
		return value != "$(params."+p.Name+")"
	})
}

func TestStepsRunAsTektonNeedsIt(t *testing.T) {
	for name, task := range read[tekton.Task](t, "Task") {
		t.Run(name, func(t *testing.T) {
			containers := len(task.Spec.Steps) + 2
			want := strconv.Itoa(min(4096, 12288/containers) - 512)
			if got := variables(task.Spec.StepTemplate.Env)["RESULTS_BUDGET"]; got != want {
				t.Errorf("RESULTS_BUDGET is %s with %d containers, want %s", got, containers, want)
			}
			security := task.Spec.StepTemplate.SecurityContext
			if security == nil || !*security.RunAsNonRoot || !*security.ReadOnlyRootFilesystem ||
				*security.AllowPrivilegeEscalation ||
				!slices.Equal(security.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
				security.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("security context %v, want that of Pod Security restricted", security)
			}
			for _, step := range task.Spec.Steps {
				program := strings.TrimPrefix(step.Image, images)
				if _, err := os.Stat(filepath.Join(root, "steps", program, "main.go")); err != nil {
					t.Errorf("step %s: %v", step.Name, err)
				}
				if want := []string{"/ko-app/" + program}; !slices.Equal(step.Command, want) {
					t.Errorf("step %s has command %v, want %v: without one Tekton asks the registry",
						step.Name, step.Command, want)
				}
				if step.Script != "" || len(step.Args) > 0 {
					t.Errorf("step %s has a script or arguments, want an environment only", step.Name)
				}
				if step.Timeout != nil {
					t.Errorf("step %s has a timeout, which kills it without a signal", step.Name)
				}
			}
		})
	}
}

// Tekton ends a run after an hour, without its finally, unless the PipelineRun says otherwise. If finish fails at the
// very end of the hour, the janitor does what it would have done when tried again.
func TestFinallyIsReachedWithinTektonsHour(t *testing.T) {
	for name, pipeline := range read[tekton.Pipeline](t, "Pipeline") {
		if !ofOne(pipeline) {
			continue
		}
		var total time.Duration
		for _, task := range slices.Concat(pipeline.Spec.Tasks, pipeline.Spec.Finally) {
			if task.Timeout == nil {
				t.Fatalf("%s: task %s has no timeout", name, task.Name)
			}
			total += task.Timeout.Duration
		}
		if total >= time.Hour {
			t.Errorf("%s: its tasks may take %s in all, want less than 1h", name, total)
		}
	}
}

func TestFinallyNeedsNoResults(t *testing.T) {
	results := regexp.MustCompile(`\$\(tasks\.[^)]*results`)
	for name, pipeline := range read[tekton.Pipeline](t, "Pipeline") {
		text, err := yaml.Marshal(pipeline.Spec.Finally)
		if err != nil {
			t.Fatal(err)
		}
		if !ofOne(pipeline) {
			continue
		}
		if found := results.FindAllString(string(text), -1); found != nil {
			t.Errorf("%s: finally refers to %v: it is skipped where one is missing", name, found)
		}
		if got := pipeline.Spec.Finally[0].Retries; got != 2 {
			t.Errorf("%s: finally is tried %d times more, want 2", name, got)
		}
	}
}

// ofOne says whether a Pipeline releases one application. Those around it follow releases, which take longer than an
// hour together, and have nothing to give back themselves.
func ofOne(p tekton.Pipeline) bool { return strings.HasPrefix(p.Name, "canary") }

// TestTasksHaveTimeouts within those of the sample runs: finally is not reached otherwise.
func TestTasksHaveTimeouts(t *testing.T) {
	runs := read[tekton.PipelineRun](t, "PipelineRun")
	for name, pipeline := range read[tekton.Pipeline](t, "Pipeline") {
		var tasks, finally time.Duration
		for _, task := range slices.Concat(pipeline.Spec.Tasks, pipeline.Spec.Finally) {
			if task.Timeout == nil {
				t.Fatalf("%s: task %s has no timeout", name, task.Name)
			}
		}
		for _, task := range pipeline.Spec.Tasks {
			tasks += task.Timeout.Duration
		}
		for _, task := range pipeline.Spec.Finally {
			finally += task.Timeout.Duration
		}
		for sample, run := range runs {
			if run.Spec.PipelineRef == nil || run.Spec.PipelineRef.Name != pipeline.Name {
				continue
			}
			if limits := run.Spec.Timeouts; limits.Tasks.Duration < tasks && !ofOne(pipeline) ||
				limits.Finally.Duration < finally {
				t.Errorf("%s: tasks may take %s and finally %s, want %s and %s as in %s", sample, limits.Tasks.Duration,
					limits.Finally.Duration, tasks, finally, name)
			}
		}
	}
}

func TestRunsHaveAllThreeTimeouts(t *testing.T) {
	for name, run := range read[tekton.PipelineRun](t, "PipelineRun") {
		limits := run.Spec.Timeouts
		if limits == nil || limits.Pipeline == nil || limits.Tasks == nil || limits.Finally == nil {
			t.Errorf("%s: timeouts %v, want pipeline, tasks and finally", name, limits)
			continue
		}
		if limits.Finally.Duration < 18*time.Minute {
			t.Errorf("%s: finally may take %s, want the 18m that its attempts may take", name, limits.Finally.Duration)
		}
	}
}

func variables(lists ...[]corev1.EnvVar) map[string]string {
	all := map[string]string{}
	for _, v := range slices.Concat(lists...) {
		all[v.Name] = v.Value
	}
	return all
}
