// Package event writes Kubernetes Events on an application's target, so that people see what a run does.
package event

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// reason is that of every event, the word that Flagger's users filter by.
const reason = "Synced"

// creator is the one call that events need; the dynamic client has it as it is.
type creator interface {
	Create(context.Context, *unstructured.Unstructured, metav1.CreateOptions, ...string) (*unstructured.Unstructured,
		error)
}

// Recorder writes events on one application's target.
type Recorder struct {
	Events creator
	App    application.Application
	UID    types.UID // of the target, where it is known: kubectl describe finds events by it
	Clock  clock
}

// clock is the API server's.
type clock interface{ Now() time.Time }

// Normalf says that something went as it should.
func (r Recorder) Normalf(ctx context.Context, format string, args ...any) {
	r.write(ctx, "Normal", fmt.Sprintf(format, args...))
}

// Warningf says that something did not.
func (r Recorder) Warningf(ctx context.Context, format string, args ...any) {
	r.write(ctx, "Warning", fmt.Sprintf(format, args...))
}

// write never fails a run: an event that cannot be written is only logged. The context may have ended.
func (r Recorder) write(ctx context.Context, kind, message string) {
	slog.Info("event", "type", kind, "message", message)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	_, err := r.Events.Create(ctx, r.object(kind, message), metav1.CreateOptions{})
	if err != nil {
		slog.Warn("event not written", "error", err.Error())
	}
}

func (r Recorder) object(kind, message string) *unstructured.Unstructured {
	stamp := r.Clock.Now().UTC().Format(time.RFC3339)
	e := &unstructured.Unstructured{Object: map[string]any{
		"involvedObject": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "namespace": r.App.Namespace,
			"name": r.App.Name, "uid": string(r.UID)},
		"reason": reason, "message": message, "type": kind,
		"source":         map[string]any{"component": kube.FieldManager},
		"firstTimestamp": stamp, "lastTimestamp": stamp, "count": int64(1),
	}}
	e.SetAPIVersion("v1")
	e.SetKind("Event")
	e.SetName(fmt.Sprintf("%s.%x.%x", r.App.Name, time.Now().UnixNano(), rand.Uint32()))
	e.SetLabels(map[string]string{application.Label: r.App.Name})
	return e
}
