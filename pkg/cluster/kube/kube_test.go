package kube_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/cluster/kube"
)

func TestWriter(t *testing.T) {
	const spec = `{f:spec: {f:replicas: {}}}`
	cases := map[string]struct{ fields, want string }{
		"nobody": {`[]`, "somebody"},
		"one":    {`[{manager: helm, time: "2026-01-02T12:00:00Z", fieldsV1: ` + spec + `}]`, "helm"},
		"the newest": {`[{manager: helm, time: "2026-01-02T12:00:00Z", fieldsV1: ` + spec +
			`}, {manager: keda, time: "2026-01-02T11:00:00Z", fieldsV1: ` + spec + `}]`, "helm"},
		"not Serin": {`[{manager: helm, time: "2026-01-02T12:00:00Z", fieldsV1: ` + spec +
			`}, {manager: serin, time: "2026-01-02T13:00:00Z", fieldsV1: ` + spec + `}]`, "helm"},
		"not who writes the status": {`[{manager: helm, time: "2026-01-02T12:00:00Z", fieldsV1: ` + spec + `},
		  {manager: kube-controller-manager, subresource: status, time: "2026-01-02T13:00:00Z", fieldsV1: {f:status: {f:replicas: {}}}}]`, "helm"},
		"who scales": {`[{manager: hpa, subresource: scale, time: "2026-01-02T12:00:00Z", fieldsV1: ` + spec + `}]`,
			"hpa"},
		"another field": {`[{manager: helm, time: "2026-01-02T12:00:00Z", fieldsV1: {f:spec: {f:template: {}}}}]`,
			"somebody"},
		"another field of this name": {`[{manager: helm, time: "2026-01-02T12:00:00Z", fieldsV1: ` + spec + `},
		  {manager: keda, time: "2026-01-02T13:00:00Z", fieldsV1: {f:spec: {f:template: {f:replicas: {}}}}}]`, "helm"},
		"in the same second, beside it": {`[{manager: helm, time: "2026-01-02T12:00:00Z", fieldsV1: ` + spec + `},
		  {manager: keda, time: "2026-01-02T12:00:00Z", fieldsV1: {f:spec: {".": {}, f:paused: {}}}}]`, "helm"},
		"beneath it": {`[{manager: helm, time: "2026-01-02T12:00:00Z",
		  fieldsV1: {f:spec: {f:replicas: {f:deeper: {}}}}}]`, "helm"},
		"not readable":   {`[{manager: helm, time: "2026-01-02T12:00:00Z", fieldsV1: {spec: 1}}]`, "somebody"},
		"without a time": {`[{manager: helm, fieldsV1: ` + spec + `}, {manager: keda}]`, "somebody"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var object metav1.ObjectMeta
			if err := yaml.Unmarshal([]byte("{managedFields: "+c.fields+"}"), &object); err != nil {
				t.Fatal(err)
			}
			if got := kube.Writer(&object, "spec", "replicas"); got != c.want {
				t.Errorf("writer %q, want %q", got, c.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	resource := schema.GroupResource{Resource: "services"}
	cases := map[string]struct {
		err              error
		transient, raced bool
	}{
		"none":          {nil, false, false},
		"stopped":       {&url.Error{Op: "Get", Err: context.Canceled}, false, false},
		"deadline":      {&url.Error{Op: "Get", Err: context.DeadlineExceeded}, false, false},
		"no connection": {&url.Error{Op: "Get", Err: errors.New("connection refused")}, true, false},
		"cut off":       {fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), true, false},
		"busy":          {apierrors.NewTooManyRequests("later", 1), true, false},
		"unavailable":   {apierrors.NewServiceUnavailable("starting"), true, false},
		"webhook away":  {apierrors.NewInternalError(errors.New("failed calling webhook")), true, false},
		"forbidden":     {apierrors.NewForbidden(resource, "a", errors.New("no role")), false, false},
		"not found":     {apierrors.NewNotFound(resource, "a"), false, false},
		"conflict":      {apierrors.NewConflict(resource, "a", errors.New("changed")), false, true},
		"a test that fails": {apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "patch", resource, "a",
			"testing path", 0, false), false, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := kube.Transient(c.err); got != c.transient {
				t.Errorf("transient: %v, want %v", got, c.transient)
			}
			if got := kube.Raced(c.err); got != c.raced {
				t.Errorf("raced: %v, want %v", got, c.raced)
			}
		})
	}
}

func TestRetryEndsWithTheLastError(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	err := kube.Retry(ctx, func(context.Context) error { return apierrors.NewServiceUnavailable("starting") })
	if !errors.Is(err, context.DeadlineExceeded) || !apierrors.IsServiceUnavailable(err) {
		t.Errorf("error %v, want the deadline and what the server said", err)
	}
	calls := 0
	err = kube.Retry(t.Context(), func(context.Context) error {
		if calls++; calls < 3 {
			return io.EOF
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Errorf("%d calls, error %v, want 3 and none", calls, err)
	}
}

func TestPatch(t *testing.T) {
	cases := map[string]struct {
		got  []kube.Operation
		want string
	}{
		"annotation of none": {kube.Annotate(nil, "serin.dev/run", "x"),
			`[{"op":"test","path":"/metadata/annotations","value":null},{"op":"add","path":"/metadata/annotations","value":{"serin.dev/run":"x"}}]`},
		"annotation beside some": {kube.Annotate(map[string]string{"a": "b"}, "serin.dev/run", "x"),
			`[{"op":"add","path":"/metadata/annotations/serin.dev~1run","value":"x"}]`},
		"test of none": {[]kube.Operation{kube.TestAnnotation(nil, "a/b~c")},
			`[{"op":"test","path":"/metadata/annotations","value":null}]`},
		"test of what is missing": {[]kube.Operation{kube.TestAnnotation(map[string]string{"d": ""}, "a/b~c")},
			`[{"op":"test","path":"/metadata/annotations/a~1b~0c","value":null}]`},
		"test of what is empty": {[]kube.Operation{kube.TestAnnotation(map[string]string{"d": ""}, "d")},
			`[{"op":"test","path":"/metadata/annotations/d","value":""}]`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := kube.Patch(c.got...)
			if diff := cmp.Diff(c.want, string(got)); err != nil || diff != "" {
				t.Errorf("patch (%v, -want +got):\n%s", err, diff)
			}
		})
	}
}

// watches gives one prepared watch after another.
type watches []func(*watch.FakeWatcher)

func (w *watches) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	if len(*w) == 0 {
		return nil, apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("no more"))
	}
	next := (*w)[0]
	*w = (*w)[1:]
	stream := watch.NewFakeWithChanSize(5, false)
	next(stream)
	return stream, nil
}

func TestFollowBeginsAnew(t *testing.T) {
	named := func(name string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	streams := &watches{
		func(w *watch.FakeWatcher) { w.Add(named("a")); w.Action(watch.Bookmark, named("bookmark")); w.Stop() },
		func(w *watch.FakeWatcher) {
			w.Error(&metav1.Status{Status: "Failure", Reason: metav1.StatusReasonExpired, Code: 410})
		},
		func(w *watch.FakeWatcher) { w.Modify(named("b")); w.Delete(named("c")) },
	}
	var seen []string
	err := kube.Follow(t.Context(), streams, kube.Named("a"),
		func(event watch.EventType, object runtime.Object) (bool, error) {
			name := object.(*metav1.PartialObjectMetadata).Name
			seen = append(seen, string(event)+" "+name)
			return name == "c", nil
		})
	if diff := cmp.Diff([]string{"ADDED a", "MODIFIED b", "DELETED c"}, seen); err != nil || diff != "" {
		t.Errorf("events (%v, -want +got):\n%s", err, diff)
	}
	if err := kube.Follow(t.Context(), streams, kube.Named("a"), nil); !apierrors.IsForbidden(err) {
		t.Errorf("error %v, want what the server refused it for", err)
	}
}
