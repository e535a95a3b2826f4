package release_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// TestAnyApplication makes applications of any shape that the API server accepts: a Deployment, and mostly a Service
// and a VirtualService, with what people write into them, sensible or not. Each is either released, or refused with
// exit code 2 and nothing changed. ANY_CASES says how many, ANY_SEED where to begin.
func TestAnyApplication(t *testing.T) {
	if testing.Short() {
		t.Skip("needs an API server, which -short leaves out")
	}
	cases, seed := numberOf("ANY_CASES", 500), numberOf("ANY_SEED", 1)
	var next, released, refused int
	var mu sync.Mutex
	var failed []string
	reasons := map[string]int{}
	draw := func() (this int, over bool) {
		mu.Lock()
		defer mu.Unlock()
		if over = next >= cases || len(failed) > 3; !over {
			next++
		}
		return seed + next - 1, over
	}
	note := func(this int, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			released++
		case errors.Is(err, errRefused):
			refused++
			reasons[shape(err)]++
		default:
			failed = append(failed, fmt.Sprintf("ANY_SEED=%d ANY_CASES=1: %v", this, err))
		}
	}
	t.Run("workers", func(t *testing.T) {
		for range 12 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for over := false; !over; {
					t.Run("", func(t *testing.T) {
						a := newAny(t)
						for range neighbours {
							var this int
							if this, over = draw(); over {
								return
							}
							note(this, a.play(uint64(this)))
						}
					})
				}
			})
		}
	})
	for _, text := range failed {
		t.Error(text)
	}
	t.Logf("%d released, %d refused: %v", released, refused, reasons)
	if len(failed) == 0 && cases > 100 && (released < cases/10 || refused < cases/10) {
		t.Errorf("%d released and %d refused of %d, want a tenth of each at least", released, refused, cases)
	}
}

// neighbours are how many applications are made in one namespace, whose objects each release lists.
const neighbours = 42

func numberOf(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// shape is what a refusal is about, without names and numbers.
func shape(err error) string {
	text := names.ReplaceAllString(strings.TrimPrefix(err.Error(), "refused: "), "X")
	return strings.Join(strings.Fields(text)[:min(9, len(strings.Fields(text)))], " ")
}

var names = regexp.MustCompile(`\ba\d+[-.\w]*`)

// errRefused is a refusal as it should be.
var errRefused = errors.New("refused")

// anyApp makes applications in one namespace, side by side.
type anyApp struct {
	t         *testing.T
	namespace string
	cluster   *kube.Cluster
}

func newAny(t *testing.T) anyApp {
	t.Helper()
	namespace := apitest.Namespace(t)
	apitest.Kubelet(t, namespace)
	cluster, err := kube.New(apitest.Config(t))
	must(t, err)
	return anyApp{t, namespace, cluster}
}

var (
	virtualServices = schema.GroupVersionResource{
		Group:    "networking.istio.io",
		Version:  "v1",
		Resource: "virtualservices",
	}
	destinationRules = schema.GroupVersionResource{
		Group:    "networking.istio.io",
		Version:  "v1",
		Resource: "destinationrules",
	}
)

// play makes an application and releases it. nil is a release.
func (a anyApp) play(seed uint64) (err error) {
	g := &shapes{Rand: rand.New(rand.NewPCG(seed, 1)), app: fmt.Sprintf("a%d", seed), namespace: a.namespace}
	var made []string
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil && !errors.Is(err, errRefused) {
			err = fmt.Errorf("%w\n%s", err, strings.Join(made, "---\n"))
		}
	}()
	ctx, cancel := context.WithTimeout(a.t.Context(), 2*time.Minute)
	defer cancel()
	for _, o := range []struct {
		of     schema.GroupVersionResource
		object map[string]any
	}{{kube.Services, g.service()}, {virtualServices, g.virtualService()}, {kube.Deployments, g.deployment()}} {
		if o.object == nil {
			continue
		}
		_, err := a.cluster.Objects(o.of, a.namespace).Create(ctx, &unstructured.Unstructured{Object: o.object},
			metav1.CreateOptions{FieldManager: "helm"})
		if err != nil && o.of == kube.Deployments {
			return fmt.Errorf("%w: the API server does not take the Deployment: %v", errRefused, err)
		}
		if err == nil {
			text, _ := yaml.Marshal(o.object)
			made = append(made, string(text))
		}
	}
	if err := a.settled(ctx, g.app); err != nil {
		return err
	}
	before := a.objects(ctx, g.app)
	r, err := release.New(a.cluster, g.app, run.ID{Namespace: a.namespace, Name: "first", UID: "1"})
	if err != nil {
		return fmt.Errorf("%w: %v", errRefused, err)
	}
	r.Drain = func(context.Context) error { return nil }
	outcome, _, err := prepare.Run(ctx, r, prepare.Preparation{
		Config: prepare.Config{
			Hosts:    []string{g.app + ".test"},
			Gateways: []string{"public"},
		}, Deadline: 30 * time.Second,
		Probe: func(context.Context) error { return nil }})
	if failure.Code(err) == failure.ExitConfig {
		if diff := cmp.Diff(before, a.objects(ctx, g.app)); diff != "" {
			return fmt.Errorf("refused (%v), and changed (-before +after):\n%s", err, diff)
		}
		return fmt.Errorf("%w: %v", errRefused, err)
	}
	if err != nil || outcome != run.Initialized {
		return fmt.Errorf("outcome %q, exit code %d: %w", outcome, failure.Code(err), err)
	}
	if err := a.atRest(ctx, r); err != nil {
		return err
	}
	return a.second(ctx, r, seed)
}

// second releases another image, every fourth time.
func (a anyApp) second(ctx context.Context, first *release.Release, seed uint64) error {
	if seed%4 != 0 {
		return nil
	}
	patch := `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"example.test/a:2"}]`
	if _, err := a.cluster.Objects(kube.Deployments, a.namespace).Patch(ctx, first.App.Name, types.JSONPatchType,
		[]byte(patch), metav1.PatchOptions{}); err != nil {
		return err
	}
	r, err := release.New(a.cluster, first.App.Name, run.ID{Namespace: a.namespace, Name: "second", UID: "2"})
	if err != nil {
		return err
	}
	r.Drain = first.Drain
	if err := whole(ctx, r); err != nil {
		return fmt.Errorf("the second release: %w", err)
	}
	return a.atRest(ctx, r)
}

// settled waits until the target's pods are as the Deployment wants them, or it is clear that it does not get any.
func (a anyApp) settled(ctx context.Context, app string) error {
	for {
		o, err := a.cluster.Objects(kube.Deployments, a.namespace).Get(ctx, app, metav1.GetOptions{})
		if err != nil {
			return err
		}
		var d struct {
			Metadata struct {
				Generation int64 `json:"generation"`
			} `json:"metadata"`
			Spec struct {
				Replicas int32 `json:"replicas"`
				Paused   bool  `json:"paused"`
			} `json:"spec"`
			Status struct {
				ObservedGeneration int64 `json:"observedGeneration"`
				AvailableReplicas  int32 `json:"availableReplicas"`
			} `json:"status"`
		}
		text, _ := o.MarshalJSON()
		if err := yaml.Unmarshal(text, &d); err != nil {
			return err
		}
		if d.Status.ObservedGeneration == d.Metadata.Generation &&
			(d.Status.AvailableReplicas == d.Spec.Replicas || d.Spec.Paused) {
			return nil
		}
		if err := kube.Pause(ctx); err != nil {
			return fmt.Errorf("the target does not get its pods: %s", text)
		}
	}
}

// objects are all that a release could change, by name: what they say, without their status and what the server keeps.
func (a anyApp) objects(ctx context.Context, app string) map[string]string {
	all := map[string]string{}
	for _, of := range []schema.GroupVersionResource{kube.Deployments, kube.Services, virtualServices, destinationRules,
		kube.Leases} {
		for _, name := range []string{app, app + "-primary", app + "-canary", "serin-" + app} {
			o, err := a.cluster.Objects(of, a.namespace).Get(ctx, name, metav1.GetOptions{})
			switch {
			case apierrors.IsNotFound(err):
				continue
			case err != nil:
				a.t.Fatal(err)
			}
			unstructured.RemoveNestedField(o.Object, "status")
			o.SetManagedFields(nil)
			if of == kube.Deployments {
				o.SetResourceVersion("")
				annotations := o.GetAnnotations()
				delete(annotations, "deployment.kubernetes.io/revision")
				o.SetAnnotations(annotations)
			}
			text, err := o.MarshalJSON()
			must(a.t, err)
			all[of.Resource+"/"+name] = string(text)
		}
	}
	return all
}

// atRest is an error unless the primary serves everyone and the target has no pods.
func (a anyApp) atRest(ctx context.Context, r *release.Release) error {
	state, err := r.Fence.Read(ctx)
	if err != nil {
		return err
	}
	if state.Record.Open() || state.Weight() != 0 || state.Splits.Check() != nil || state.Splits.Whole() {
		return fmt.Errorf("at rest: %d %% in %s, record %v", state.Weight(), state.Splits, state.Record)
	}
	target, err := r.Target(ctx)
	if err != nil || target.Wanted() != 0 {
		return fmt.Errorf("at rest the target wants %d pods (%w)", target.Wanted(), err)
	}
	primary, err := r.Deployments.Get(ctx, r.App.Primary())
	if err != nil || !primary.Ready() {
		return fmt.Errorf("at rest the primary is not ready: %v (%w)", primary, err)
	}
	apex, err := r.Services.Apex(ctx)
	if err != nil {
		return err
	}
	selector, _, _ := unstructured.NestedStringMap(apex.Object, "spec", "selector")
	if diff := cmp.Diff(primary.Spec.Selector.MatchLabels, selector); diff != "" {
		return fmt.Errorf("at rest the apex Service does not select the primary's pods (-pods +selector):\n%s", diff)
	}
	return nil
}
