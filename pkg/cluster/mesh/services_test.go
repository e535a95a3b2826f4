package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestPortsOfTheApex(t *testing.T) {
	p := newPlace(t)
	p.make("podinfo", target)
	if node := p.service("podinfo").Spec.Ports[0].NodePort; node == 0 {
		t.Fatal("the Service has no port on each node, want one")
	}
	got, err := p.of().Shape(t.Context(), deployment(9898), 8080)
	must(t, err)
	want := []any{
		map[string]any{"name": "http", "port": int64(80), "targetPort": "web", "protocol": "TCP"},
		map[string]any{"name": "grpc", "port": int64(9999), "targetPort": int64(9999), "protocol": "TCP"},
	}
	if diff := cmp.Diff(want, got.Ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	// Two Services cannot have one port on each node: the API server would refuse it.
	_, err = p.of().Ensure(t.Context(), "podinfo-primary", primary, got)
	must(t, err)
}

func TestPortsWithoutApex(t *testing.T) {
	p := newPlace(t)
	got, err := p.of().Shape(t.Context(), deployment(9898, 9797), 8080)
	want := []any{map[string]any{"name": "http", "port": int64(8080), "targetPort": int64(9898)}}
	if diff := cmp.Diff(want, got.Ports); err != nil || diff != "" {
		t.Errorf("ports (%v, -want +got):\n%s", err, diff)
	}
	quic := deployment(443, 9898)
	quic.Spec.Template.Spec.Containers[1].Ports[0].Protocol = "UDP"
	got, err = p.of().Shape(t.Context(), quic, 8080)
	if diff := cmp.Diff(want, got.Ports); err != nil || diff != "" {
		t.Errorf("ports beside one of UDP (%v, -want +got):\n%s", err, diff)
	}
	_, err = p.of().Shape(t.Context(), deployment(), 8080)
	text := fmt.Sprintf("making Service %s: Deployment podinfo names no container port, "+
		"want one, or a Service podinfo", p.app)
	if failure.Code(err) != failure.ExitConfig || fmt.Sprint(err) != text {
		t.Errorf("error %v (exit %d), want %s (exit 2)", err, failure.Code(err), text)
	}
}

func TestEnsureMakesAService(t *testing.T) {
	p := newPlace(t)
	for range 2 { // the second time changes nothing
		writer, err := p.of().Ensure(t.Context(), "podinfo-primary", primary, port80)
		if err != nil || writer != "" {
			t.Errorf("writer %q (%v), want nobody", writer, err)
		}
	}
	got := p.service("podinfo-primary")
	want := []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(9898), Protocol: "TCP"}}
	if diff := cmp.Diff(want, got.Spec.Ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(primary, got.Spec.Selector); diff != "" || got.Labels["serin.dev/app"] != "podinfo" {
		t.Errorf("labels %v, selector (-want +got):\n%s", got.Labels, diff)
	}
	if by := got.ManagedFields; len(by) != 1 || by[0].Manager != "serin" {
		t.Errorf("written by %+v, want by serin alone", by)
	}
}

// TestPointing has a Service that is there: Ensure and Rest change what it selects, name who had chosen that, and leave
// the rest.
func TestPointing(t *testing.T) {
	point := map[string]func(context.Context, mesh.Services) (string, error){
		"Ensure": func(ctx context.Context, s mesh.Services) (string, error) {
			return s.Ensure(ctx, "podinfo", primary, port80)
		},
		"Rest": func(ctx context.Context, s mesh.Services) (string, error) {
			return rested(ctx, s, deployment(1))
		},
	}
	cases := map[string]struct {
		selector map[string]string
		write    string // by kubectl-edit afterwards
		writer   string
	}{
		"Helm's":       {target, "", "helm"},
		"edited since": {target, `[{"op":"add","path":"/spec/selector/tier","value":"web"}]`, "kubectl-edit"},
		"without one":  {nil, "", "somebody"},
	}
	for verb, point := range point {
		for name, c := range cases {
			t.Run(verb+", "+name, func(t *testing.T) {
				p := newPlace(t)
				p.make("podinfo", c.selector)
				if c.write != "" {
					p.write("podinfo", "kubectl-edit", c.write)
				}
				want := p.service("podinfo")
				want.Spec.Selector = primary
				writer, err := point(t.Context(), p.of())
				if err != nil || writer != c.writer {
					t.Errorf("writer %q (%v), want %q", writer, err, c.writer)
				}
				got := p.service("podinfo")
				version := got.ResourceVersion
				want.ManagedFields, want.ResourceVersion = got.ManagedFields, version
				want.Annotations = map[string]string{"serin.dev/ports": got.Annotations["serin.dev/ports"]}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("Service (-want +got):\n%s", diff)
				}
				writer, err = point(t.Context(), p.of())
				if again := p.service("podinfo").ResourceVersion; err != nil || writer != "" || again != version {
					t.Errorf("again: writer %q (%v), version %s, want nobody, version %s", writer, err, again, version)
				}
			})
		}
	}
}

// rested reads the apex and brings it to rest.
func rested(ctx context.Context, s mesh.Services, target *workload.Deployment) (string, error) {
	apex, err := s.Apex(ctx)
	if err != nil {
		return "", err
	}
	return s.Rest(ctx, apex, target, primary, 80)
}

// TestPortsFollowTheApex has somebody change its ports between two runs.
func TestPortsFollowTheApex(t *testing.T) {
	p := newPlace(t)
	p.make("podinfo", target)
	shape, err := p.of().Shape(t.Context(), deployment(9898), 0)
	must(t, err)
	for _, s := range []struct {
		name     string
		selector map[string]string
	}{{"podinfo-primary", primary}, {"podinfo-canary", target}, {"podinfo", primary}} {
		_, err := p.of().Ensure(t.Context(), s.name, s.selector, shape)
		must(t, err)
	}
	calls := 0
	counted := through(releasetest.Before(func(*http.Request) error { calls++; return nil }))
	_, err = rested(t.Context(), p.of(counted), deployment(9898))
	must(t, err)
	if calls != 1 {
		t.Errorf("%d calls without a change, want 1", calls)
	}
	p.write("podinfo", "helm", `[{"op":"replace","path":"/spec/ports/0/targetPort","value":"http"},
		{"op":"add","path":"/spec/ports/-","value":{"name":"metrics","port":9797,"targetPort":9797}}]`)
	for range 2 {
		_, err = rested(t.Context(), p.of(), deployment(9898))
		must(t, err)
		want := p.service("podinfo").Spec.Ports
		want[0].NodePort, want[1].NodePort, want[2].NodePort = 0, 0, 0
		for _, name := range []string{"podinfo-primary", "podinfo-canary"} {
			if diff := cmp.Diff(want, p.service(name).Spec.Ports); diff != "" {
				t.Errorf("ports of %s (-want +got):\n%s", name, diff)
			}
		}
	}
}

// TestPortsThatCannotBeFollowed has the new version listen where the one that serves does not.
func TestPortsThatCannotBeFollowed(t *testing.T) {
	p := newPlace(t)
	p.make("podinfo", target)
	shape, err := p.of().Shape(t.Context(), deployment(9999), 0)
	must(t, err)
	_, err = p.of().Ensure(t.Context(), "podinfo-primary", primary, shape)
	must(t, err)
	p.write("podinfo", "helm", `[{"op":"replace","path":"/spec/ports/1/targetPort","value":9090}]`)
	apex, err := p.of().Apex(t.Context())
	must(t, err)
	for name, c := range map[string]struct {
		primary, target *workload.Deployment
		refused         bool
	}{
		"moved":                {deployment(9999), deployment(9090), true},
		"both listen there":    {deployment(9999, 9090), deployment(9090), false},
		"nobody says":          {deployment(), deployment(), false},
		"neither listens":      {deployment(9999), deployment(9999), false},
		"before a first start": {nil, deployment(9090), false},
	} {
		err := p.of().Follows(t.Context(), apex, c.primary, c.target)
		if refused := failure.Code(err) == failure.ExitConfig; refused != c.refused || err != nil && !refused {
			t.Errorf("%s: %v, want it refused: %v", name, err, c.refused)
		}
	}
}

func TestPortOfGateways(t *testing.T) {
	port := func(name, protocol string, number int64) map[string]any {
		p := map[string]any{"name": name, "port": number, "protocol": "TCP"}
		if protocol != "" {
			p["appProtocol"] = protocol
		}
		return p
	}
	for name, c := range map[string]struct {
		ports  []any
		wanted int64
		want   int64
		fails  bool
	}{
		"one":              {[]any{port("http", "", 80)}, 0, 0, false},
		"the first of two": {[]any{port("http", "", 80), port("grpc", "", 9090)}, 0, 80, false},
		"behind others": {[]any{port("tcp-redis", "", 6379), port("web", "https", 443), port("grpc-web", "", 9090)},
			0, 9090, false},
		"wanted":        {[]any{port("http", "", 80), port("grpc", "", 9090)}, 9090, 9090, false},
		"none of them":  {[]any{port("http", "", 80), port("grpc", "", 9090)}, 8080, 0, true},
		"none for HTTP": {[]any{port("tls-a", "", 443), port("mysql", "", 3306)}, 0, 0, false},
	} {
		got, err := mesh.Shape{Ports: c.ports}.Gateway(c.wanted)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %d (%v), want %d", name, got, err, c.want)
		}
	}
}

func TestRestMakesTheApexThatIsMissing(t *testing.T) {
	p := newPlace(t)
	writer, err := p.of().Rest(t.Context(), nil, deployment(9898), primary, 8080)
	if err != nil || writer != "" {
		t.Errorf("writer %q (%v), want nobody", writer, err)
	}
	got := p.service("podinfo").Spec
	port := got.Ports[0]
	if port.Port != 8080 || port.TargetPort.IntValue() != 9898 || !cmp.Equal(got.Selector, primary) {
		t.Errorf("ports %v and selector %v, want 8080 to 9898 of the primary", got.Ports, got.Selector)
	}
	p = newPlace(t)
	_, err = p.of().Rest(t.Context(), nil, deployment(), primary, 8080)
	if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), "names no container port") {
		t.Errorf("without a port: error %v (exit %d), want exit 2", err, failure.Code(err))
	}
	if _, err := p.services.Get(t.Context(), "podinfo", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("reading the Service: %v, want none", err)
	}
}

// TestServiceChangedMeanwhile has somebody write the Service between reading and writing it.
func TestServiceChangedMeanwhile(t *testing.T) {
	p := newPlace(t)
	p.make("podinfo", target)
	edited := before(http.MethodPatch, func() error {
		p.write("podinfo", "kubectl-edit", `[{"op":"add","path":"/spec/selector/tier","value":"web"}]`)
		return nil
	})
	_, err := p.of(edited).Ensure(t.Context(), "podinfo", primary, port80)
	if !kube.Raced(err) || !strings.HasPrefix(err.Error(), "pointing Service podinfo: ") {
		t.Errorf("error %v, want the Service named, and that it was raced", err)
	}
	want := map[string]string{"app": "podinfo", "tier": "web"}
	if diff := cmp.Diff(want, p.service("podinfo").Spec.Selector); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}

	labelled := before(http.MethodPatch, func() error {
		p.write("podinfo", "kubectl-label", `[{"op":"add","path":"/metadata/labels/team","value":"shop"}]`)
		return nil
	})
	writer, err := p.of(labelled).Ensure(t.Context(), "podinfo", primary, port80)
	if err != nil || writer != "kubectl-edit" {
		t.Errorf("writer %q (%v), want kubectl-edit", writer, err)
	}
	got := p.service("podinfo")
	if got.Labels["team"] != "shop" || got.Spec.Selector["app"] != "podinfo-primary" {
		t.Errorf("labels %v and selector %v, want both changes", got.Labels, got.Spec.Selector)
	}

	made := before(http.MethodPost, func() error { p.make("podinfo-canary", target); return nil })
	_, err = p.of(made).Ensure(t.Context(), "podinfo-canary", primary, port80)
	if !apierrors.IsAlreadyExists(err) || !strings.HasPrefix(err.Error(), "making Service podinfo-canary: ") {
		t.Errorf("error %v, want the Service named, and that there is one", err)
	}
	if got := p.service("podinfo-canary").Spec.Selector["app"]; got != "podinfo" {
		t.Errorf("the Service selects %s, want it as it was made", got)
	}
}

func TestEnsureTriesAgain(t *testing.T) {
	p := newPlace(t)
	reset := func() error { return &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")} }
	for name, way := range map[string]func(*rest.Config){
		"read":   before(http.MethodGet, reset),
		"made":   before(http.MethodPost, reset),
		"answer": through(releasetest.Losing()),
	} {
		_, err := p.of(way).Ensure(t.Context(), "podinfo-"+name, primary, port80)
		must(t, err)
		if got := p.service("podinfo-" + name).Spec.Selector["app"]; got != "podinfo-primary" {
			t.Errorf("%s: the Service selects %s, want podinfo-primary", name, got)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	away := through(releasetest.Before(func(*http.Request) error { return reset() }))
	_, err := p.of(away).Ensure(ctx, "podinfo", primary, port80)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "reading Service podinfo: ") {
		t.Errorf("error %v, want the deadline and the Service", err)
	}
}

func TestServicesThatAreRefused(t *testing.T) {
	p := newPlace(t)
	p.make("podinfo", target)
	bad := map[string]string{"app": "pod info"}
	calls := map[string]struct {
		do   func(ctx context.Context) error
		want []string
	}{
		"read": {func(ctx context.Context) error {
			_, err := p.of(nobody).Shape(ctx, deployment(1), 80)
			return err
		}, []string{"reading Service podinfo: ", "forbidden"}},
		"rest": {func(ctx context.Context) error {
			_, err := rested(ctx, p.of(nobody), deployment(1))
			return err
		}, []string{"reading Service podinfo: ", "forbidden"}},
		"made": {func(ctx context.Context) error {
			_, err := p.of().Ensure(ctx, "podinfo-primary", bad, port80)
			return err
		}, []string{"making Service podinfo-primary: ", `Invalid value: "pod info"`}},
		"pointed": {func(ctx context.Context) error {
			_, err := p.of().Ensure(ctx, "podinfo", bad, port80)
			return err
		}, []string{"pointing Service podinfo: ", `Invalid value: "pod info"`}},
	}
	for name, c := range calls {
		t.Run(name, func(t *testing.T) {
			err := c.do(t.Context())
			for _, want := range c.want {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("error %v, want %q in it", err, want)
				}
			}
			if strings.Count(fmt.Sprint(err), c.want[0]) > 1 {
				t.Errorf("error %v says twice what was attempted", err)
			}
		})
	}
	if got := p.service("podinfo").Spec.Selector["app"]; got != "podinfo" {
		t.Errorf("the Service selects %s, want it as it was", got)
	}
}
