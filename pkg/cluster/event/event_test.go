package event_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/event"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// noon is what the API server's clock shows.
type noon struct{}

func (noon) Now() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// recorder writes events on podinfo of a new namespace, through these transports.
func recorder(t *testing.T, through ...func(http.RoundTripper) http.RoundTripper) event.Recorder {
	t.Helper()
	config := apitest.Config(t)
	for _, wrap := range through {
		config.Wrap(wrap)
	}
	cluster, err := kube.New(config)
	if err != nil {
		t.Fatal(err)
	}
	app := application.Application{Namespace: apitest.Namespace(t), Name: "podinfo"}
	return event.Recorder{Events: cluster.Objects(kube.Events, app.Namespace), App: app, UID: "2c1a", Clock: noon{}}
}

// written are the events of a recorder's namespace.
func written(t *testing.T, r event.Recorder, selector string) []corev1.Event {
	t.Helper()
	events := apitest.Client(t).CoreV1().Events(r.App.Namespace)
	list, err := events.List(t.Context(), metav1.ListOptions{FieldSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func TestEventsOfTheTarget(t *testing.T) {
	r := recorder(t)
	r.Normalf(t.Context(), "Advance %s canary weight %d", r.App, 20)
	r.Warningf(t.Context(), "Rolling back %s", r.App)
	for kind, message := range map[string]string{
		"Normal":  "Advance podinfo." + r.App.Namespace + " canary weight 20",
		"Warning": "Rolling back podinfo." + r.App.Namespace,
	} {
		t.Run(kind, func(t *testing.T) {
			found := written(t, r, "type="+kind)
			if len(found) != 1 {
				t.Fatalf("%d events of type %s, want 1", len(found), kind)
			}
			got := found[0]
			at := metav1.NewTime(noon{}.Now().Local())
			want := corev1.Event{
				InvolvedObject: corev1.ObjectReference{
					APIVersion: "apps/v1", Kind: "Deployment", Namespace: r.App.Namespace, Name: "podinfo", UID: "2c1a",
				},
				Type: kind, Reason: "Synced", Message: message, Count: 1,
				Source: corev1.EventSource{Component: "serin"}, FirstTimestamp: at, LastTimestamp: at,
			}
			if name := got.Name; !strings.HasPrefix(name, "podinfo.") {
				t.Errorf("name %q, want it to begin with the application's", name)
			}
			if diff := cmp.Diff(map[string]string{"serin.dev/app": "podinfo"}, got.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			got.ObjectMeta, got.ReportingController = metav1.ObjectMeta{}, ""
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
	// What kubectl describe looks for.
	selector := "involvedObject.kind=Deployment,involvedObject.name=podinfo,involvedObject.uid=2c1a,reason=Synced"
	if found := written(t, r, selector); len(found) != 2 {
		t.Errorf("%d events of the target, want 2", len(found))
	}
}

// TestSameEventTwice has two events of one message: names must not collide.
func TestSameEventTwice(t *testing.T) {
	r := recorder(t)
	for range 2 {
		r.Normalf(t.Context(), "Starting canary analysis for %s", r.App)
	}
	if found := written(t, r, "reason=Synced"); len(found) != 2 {
		t.Errorf("%d events, want 2", len(found))
	}
}

// TestEventOfAStepThatWasStopped is written all the same.
func TestEventOfAStepThatWasStopped(t *testing.T) {
	r := recorder(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Warningf(ctx, "Rolling back %s", r.App)
	if found := written(t, r, "type=Warning"); len(found) != 1 {
		t.Errorf("%d events, want 1", len(found))
	}
}

// TestEventThatIsRefused is only logged, in full.
func TestEventThatIsRefused(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	r := recorder(t, releasetest.Before(func(r *http.Request) error {
		if r.Method == http.MethodPost {
			return errors.New("no route to host")
		}
		return nil
	}))
	r.Normalf(t.Context(), "Promotion completed! Scaling down %s", r.App)
	for _, want := range []string{
		fmt.Sprintf(`level=INFO msg=event type=Normal message="Promotion completed! Scaling down %s"`, r.App),
		`level=WARN msg="event not written" error=`, "no route to host",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %q, want %q in it", log.String(), want)
		}
	}
	if found := written(t, r, ""); len(found) != 0 {
		t.Errorf("%d events, want none", len(found))
	}
}
