package summary

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/run"
)

// decided is when the last verdict had been reached: what Prometheus has counted since then had no part in it. It is
// zero while the run goes on.
func decided(rec *record.Record) time.Time {
	if !rec.Passed.IsZero() {
		return rec.Passed
	}
	return rec.Ended
}

// reached is a judging that was done again, with the verdict that the run was given. Where judging again comes to
// another, because Prometheus has got or lost samples since, or because it was not the metrics that decided, a warning
// says so.
func reached(v verdict.Verdict, rec *record.Record) verdict.Verdict {
	decision, code, text := given(rec)
	switch {
	case decision == verdict.Wait:
		return v
	case decision == verdict.Pass && v.Decision != verdict.Wait && v.Err() == nil:
		return v // a verdict which lets the run go on, as it did
	case decision == v.Decision && code == v.Code && (text == "" || Same(rec.Reason, v.Reason())):
		return v
	}
	if v.Decision != verdict.Wait {
		v.Warnings = append(v.Warnings,
			fmt.Sprintf("judged-again: by the samples that Prometheus has now it would be %s, %s: %s", v.Decision,
				v.Code, v.Text))
	}
	v.Decision, v.Code = decision, code
	v.Text = cmp.Or(text, "the run ended before a verdict: "+rec.Reason)
	return v
}

// lasting is for how long something was looked at, as reasons say it.
var lasting = regexp.MustCompile(` in \d[\dhms.]*\b`)

// Same says whether two reasons are the same but for the time that was looked at: a step judges some milliseconds
// before the second that the record keeps.
func Same(a, b string) bool {
	return lasting.ReplaceAllString(a, "") == lasting.ReplaceAllString(b, "")
}

// given is the verdict of a run as its record has it: none while it goes on, and undecided, without a text, where it
// ended before one.
func given(rec *record.Record) (decision verdict.Decision, code, text string) {
	switch {
	case rec.Verdict == verdict.Pass || rec.Outcome == run.Promoted:
		return verdict.Pass, sequential.Healthy, rec.PromotedFor()
	case rec.Verdict != verdict.Wait:
		code, text, _ = strings.Cut(rec.Reason, ": ")
		return rec.Verdict, code, text
	case rec.Open():
		return verdict.Wait, "", ""
	}
	return verdict.Inconclusive, sequential.Undecided, ""
}

// without is the judging of a run that cannot be done again: as an earlier report has it, else without any numbers.
func without(ctx context.Context, r *release.Release, config judge.Config, rec *record.Record,
	cause error) (verdict.Verdict, error) {
	warning := fmt.Sprintf("not-judged-again: %s", cause)
	earlier, err := Read(ctx, r.Cluster, r.App, rec.ID)
	if err != nil {
		return verdict.Verdict{}, err
	}
	if earlier != nil && earlier.Verdict != nil {
		v := *earlier.Verdict
		v.OnInconclusive, v.Shadow = config.OnInconclusive, config.Mode == "shadow"
		return v, nil
	}
	target := verdict.Target{Namespace: r.App.Namespace, Canary: r.App.Name, Primary: r.App.Primary()}
	v := verdict.New(target, judged(rec), cmp.Or(decided(rec), r.Cluster.Now()))
	v.Judge, v.Warnings = config.Judge, append(v.Warnings, warning)
	return v, nil
}

// Read reads the report of a run; nil where there is none, or none that can be read.
func Read(ctx context.Context, c *kube.Cluster, app application.Application, of run.ID) (*Summary, error) {
	var object *unstructured.Unstructured
	err := kube.Retry(ctx, func(ctx context.Context) (err error) {
		object, err = c.Objects(kube.ConfigMaps, app.Namespace).Get(ctx, app.Report(of.Name), metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the report, ConfigMap %s/%s: %w", app.Namespace, app.Report(of.Name), err)
	}
	text, _, _ := unstructured.NestedString(object.Object, "data", "report.json")
	var s Summary
	if json.Unmarshal([]byte(text), &s) != nil || s.Run != of {
		return nil, nil
	}
	return &s, nil
}
