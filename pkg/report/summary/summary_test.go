package summary_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/report/summary"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kept sums a run up, and returns what was printed.
func kept(t *testing.T, r *release.Release, url string) string {
	t.Helper()
	var config judge.Config
	must(t, parameter.Decode(t.Context(), map[string]string{
		"judge": "classic", "metrics": `[{"name": "depth", "query": "vector(7)", "max": 9}]`}, &config))
	var out strings.Builder
	must(t, summary.Keep(t.Context(), r, config, prometheus.Config{URL: url}, &out))
	return out.String()
}

func configMap(t *testing.T, a *releasetest.App, name string) (*corev1.ConfigMap, error) {
	t.Helper()
	return a.Client.CoreV1().ConfigMaps(a.Namespace).Get(t.Context(), name, metav1.GetOptions{})
}

func TestARunIsSummedUp(t *testing.T) {
	url := prometheustest.Start(t)
	a := releasetest.New(t)
	a.First()
	a.Push("2")
	r := a.PipelineRun("second") // there is one: the garbage collector removes what an absent one owns
	_, err := a.Prepare(r)
	must(t, err)
	must(t, stage.Shift(t.Context(), r, 20, time.Minute))
	must(t, r.Close(t.Context(), "worse: bad", "worse: bad"))

	for _, again := range []bool{false, true} {
		printed := kept(t, r, url)
		for _, want := range []string{"second of podinfo: rolled-back, revision ", ": worse: bad\n",
			"shifted: VirtualService podinfo http/0\n",
			fmt.Sprintf("podinfo.%s at weight 20: inconclusive, undecided: 0 of 1 checks failed", a.Namespace)} {
			if !strings.Contains(printed, want) {
				t.Errorf("again %v: printed\n%s\nwant %q in it", again, printed, want)
			}
		}
		kept, err := configMap(t, a, "serin-podinfo-second")
		must(t, err)
		owner := metav1.OwnerReference{
			APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: "second", UID: types.UID(r.ID.UID)}
		if diff := cmp.Diff([]metav1.OwnerReference{owner}, kept.OwnerReferences); diff != "" {
			t.Errorf("again %v: owner (-want +got)\n%s", again, diff)
		}
		var s summary.Summary
		must(t, json.Unmarshal([]byte(kept.Data["report.json"]), &s))
		if s.Run != r.ID || s.Outcome != run.RolledBack || s.Verdict == nil ||
			s.Verdict.Decision != verdict.Inconclusive {
			t.Errorf("again %v: kept %s", again, kept.Data["report.json"])
		}
		if s.Verdict.Warnings == nil || len(s.Verdict.Stages) != 1 || s.Verdict.Stages[0].Weight != 20 {
			t.Errorf("again %v: kept %s, want one stage, and a list of no warnings", again, kept.Data["report.json"])
		}
		if !strings.HasPrefix(kept.Data["report.html"], "<!doctype html>") ||
			!strings.HasPrefix(kept.Data["report.md"], "### ") {
			t.Errorf("again %v: page %.20q, Markdown %.20q", again, kept.Data["report.html"], kept.Data["report.md"])
		}
	}
}

func TestARunThatChangedNothingHasNoSummary(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	if printed := kept(t, a.Run("another"), "http://127.0.0.1:1"); printed != "" {
		t.Errorf("printed %q, want nothing", printed)
	}
	if _, err := configMap(t, a, "serin-podinfo-another"); !apierrors.IsNotFound(err) {
		t.Errorf("ConfigMap of a run that changed nothing: %v, want none", err)
	}
}

// TestReportFollowsItsOwner finds the report of a PipelineRun that had the name before. Its owner is alive here, so
// that the garbage collector leaves it alone.
func TestReportFollowsItsOwner(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	a.Push("2")
	r, before := a.PipelineRun("nightly"), a.PipelineRun("other").ID
	_, err := a.Client.CoreV1().ConfigMaps(a.Namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "serin-podinfo-nightly", OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: before.Name, UID: types.UID(before.UID)}}},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = a.Prepare(r)
	must(t, err)
	must(t, r.Close(t.Context(), "worse: bad", "worse: bad"))
	kept(t, r, "http://127.0.0.1:1")
	kept, err := configMap(t, a, "serin-podinfo-nightly")
	must(t, err)
	if owners := kept.OwnerReferences; len(owners) != 1 || string(owners[0].UID) != r.ID.UID ||
		kept.Labels["serin.dev/app"] != "podinfo" {
		t.Errorf("owners %v, labels %v, want PipelineRun %s alone, and the application", owners, kept.Labels, r.ID)
	}
}
