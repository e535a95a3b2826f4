package replay_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	networking "istio.io/api/networking/v1"
	istio "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/report/replay"
	"github.com/serin-cd/serin/pkg/report/summary"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestARunIsReadFromItsRecordOrItsReport(t *testing.T) {
	cluster, err := kube.New(apitest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	namespace := apitest.Namespace(t)
	target := judge.Target{Namespace: namespace, Canary: "reviews", Primary: "reviews-primary"}
	rec := record.Record{
		ID: run.ID{Namespace: namespace, Name: "latest", UID: "1"}, Created: noon.Add(-time.Minute), Phase: run.Closed,
		Outcome: run.Promoted, Reason: "healthy",
		Revision: "r2", Stages: []run.Stage{{Weight: 20, At: noon}, {Weight: 40, At: noon.Add(time.Minute)}},
		Ended: noon.Add(3 * time.Minute),
	}
	destination := func(service string, weight int32) *networking.HTTPRouteDestination {
		return &networking.HTTPRouteDestination{Destination: &networking.Destination{Host: service}, Weight: weight}
	}
	vs := &istio.VirtualService{
		ObjectMeta: metav1.ObjectMeta{Name: "reviews",
			Annotations: map[string]string{application.RunAnnotation: rec.String()}},
		Spec: networking.VirtualService{Hosts: []string{"reviews"},
			Http: []*networking.HTTPRoute{{Route: []*networking.HTTPRouteDestination{
				destination("reviews-primary", 100), destination("reviews-canary", 0)}}}},
	}
	if _, err := cluster.VirtualServices(namespace).Create(t.Context(), vs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	kept := func(name string, judged *verdict.Verdict) {
		text, err := json.Marshal(summary.Summary{Run: run.ID{Namespace: namespace, Name: name, UID: "0"},
			App:     "reviews",
			Outcome: run.RolledBack, Reason: "worse", Verdict: judged})
		if err != nil {
			t.Fatal(err)
		}
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "serin-reviews-" + name},
			Data: map[string]string{"report.json": string(text)}}
		if _, err := apitest.Client(t).CoreV1().ConfigMaps(namespace).Create(t.Context(), object,
			metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	kept("earlier", &verdict.Verdict{At: noon.Add(-time.Hour),
		Stages: []run.Stage{{Weight: 20, At: noon.Add(-2 * time.Hour)}}})
	kept("unjudged", nil)

	r, err := replay.OfRun(t.Context(), cluster, target, "latest")
	if err != nil || len(r.Stages) != 2 || !r.Ended.Equal(noon.Add(3*time.Minute+2*time.Second)) ||
		r.Outcome != "promoted" {
		t.Errorf("latest: %+v, %v", r, err)
	}
	r, err = replay.OfRun(t.Context(), cluster, target, "earlier")
	if err != nil || len(r.Stages) != 1 || !r.Ended.Equal(noon.Add(-time.Hour)) || r.Outcome != "rolled-back" ||
		r.Reason != "worse" {
		t.Errorf("earlier: %+v, %v", r, err)
	}
	for name, text := range map[string]string{"unjudged": "replaying run unjudged: its report has no judging",
		"none": "reading run none of reviews."} {
		if _, err := replay.OfRun(t.Context(), cluster, target, name); err == nil ||
			!strings.HasPrefix(err.Error(), text) ||
			failure.Code(err) != failure.ExitConfig {
			t.Errorf("%s: error %v, want %q", name, err, text)
		}
	}
	// An application that was removed still has the reports of its runs.
	if err := cluster.VirtualServices(namespace).Delete(t.Context(), "reviews", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err = replay.OfRun(t.Context(), cluster, target, "earlier"); err != nil {
		t.Errorf("earlier: %v", err)
	}
}
