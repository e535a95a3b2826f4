package trial

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/record"
)

// VirtualServices is the resource of that name.
var VirtualServices = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1",
	Resource: "virtualservices"}

// Version is an image of the application, good or bad. Its tag is what clients read in the answer.
type Version string

// The versions that a sandbox has.
const (
	V1       Version = "1.0.0"
	V2       Version = "2.0.0"
	V3       Version = "3.0.0"
	Errors   Version = "4.0.0-errors"   // every third answer is a 500
	Broken   Version = "4.1.0-broken"   // every answer is a 503
	Slow     Version = "4.2.0-slow"     // every answer takes 1.5 s
	Unready  Version = "4.3.0-unready"  // its pods never become ready
	Late     Version = "4.4.0-late"     // every third answer is a 500, 40 s after its start
	Crashing Version = "4.5.0-crashing" // ends 20 s after its start, again and again
)

// Image is what a version's container runs in a sandbox.
func (v Version) Image() string { return "serin.test/app:" + string(v) }

// Image is what a version's container runs in this cluster.
func (i *Installation) Image(v Version) string { return cmp.Or(i.images[string(v)], v.Image()) }

// App is an application in a namespace of its own, where Serin is installed.
type App struct {
	*Installation
	Namespace string
	Name      string
	Host      string // by which clients reach it through the gateway
}

var manifest = template.Must(template.New("").Parse(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public}
spec:
  selector: {{.Gateway}}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [{{.Host}}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{.Name}}}
spec:
  replicas: 2
  selector: {matchLabels: {app: {{.Name}}}}
  template:
    metadata: {labels: {app: {{.Name}}}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: app
        image: {{.Image}}
        ports: [{name: http, containerPort: 8080}]
        resources: {requests: {cpu: 10m}} # as a step has: pods without any are late whenever one of them computes
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1, timeoutSeconds: 5}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: {{.Name}}}
spec: {selector: {app: {{.Name}}}, ports: [{name: http, port: 80, targetPort: http}]}
`))

// Autoscaler is a HorizontalPodAutoscaler of the target as people write it: its bounds, and how much of a processor the
// pods may use on average.
func (a *App) Autoscaler(least, most int, cpu string) string {
	return fmt.Sprintf(`
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[1]s}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[1]s}
  minReplicas: %[2]d
  maxReplicas: %[3]d
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: %[4]s}}}]
`, a.Name, least, most, cpu)
}

// NewApp makes a namespace, installs Serin in it, and deploys a version there as a chart would. A namespace of that
// name that exists is an error. Where it fails later, the namespace goes.
func (i *Installation) NewApp(ctx context.Context, namespace, name string, version Version) (*App, error) {
	a := &App{Installation: i, Namespace: namespace, Name: name, Host: name + "." + namespace + ".test"}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace,
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if _, err := i.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	if err := a.deploy(ctx, version); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return nil, errors.Join(err, a.Remove(ctx))
	}
	return a, nil
}

// deploy makes what is in the namespace and waits until the version is ready, for as long as pulling its image may
// take.
func (a *App) deploy(ctx context.Context, version Version) error {
	if err := a.Apply(ctx, string(a.manifest)); err != nil {
		return err
	}
	gateway, err := json.Marshal(a.Sandbox.GatewaySelector)
	if err != nil {
		return err
	}
	var objects strings.Builder
	if err := manifest.Execute(&objects, map[string]string{
		"Name": a.Name, "Host": a.Host, "Image": a.Image(version), "Gateway": string(gateway),
	}); err != nil {
		return err
	}
	if err := a.Apply(ctx, objects.String()); err != nil {
		return err
	}
	return a.Eventually(ctx, 2*time.Minute, a.Name+" is ready", func(ctx context.Context) (bool, error) {
		d, err := a.Deployment(ctx, a.Name)
		if err != nil || d.Status.ReadyReplicas == 2 {
			return err == nil, err
		}
		return false, a.waiting(ctx)
	})
}

// waiting says what the application's containers wait for, such as an image.
func (a *App) waiting(ctx context.Context) error {
	pods, err := a.Client.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + a.Name})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		for _, c := range pod.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil {
				return fmt.Errorf("pod %s: %s: %s", pod.Name, w.Reason, w.Message)
			}
		}
	}
	return fmt.Errorf("%d pods, not ready", len(pods.Items))
}

// Remove deletes the namespace and all that is in it, without waiting.
func (a *App) Remove(ctx context.Context) error {
	return a.Client.CoreV1().Namespaces().Delete(ctx, a.Namespace, metav1.DeleteOptions{})
}

// Gone waits until the namespace that was removed is no more.
func (a *App) Gone(ctx context.Context, limit time.Duration) error {
	return a.Eventually(ctx, limit, "namespace "+a.Namespace+" is gone", func(ctx context.Context) (bool, error) {
		_, err := a.Client.CoreV1().Namespaces().Get(ctx, a.Namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

// Apply is kubectl apply in the application's namespace.
func (a *App) Apply(ctx context.Context, manifest string) error {
	_, err := a.Kubectl(ctx, manifest, "apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

// Kubectl calls kubectl in the application's namespace and returns what it prints.
func (a *App) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := a.Sandbox.Kubectl(ctx, append([]string{"--namespace", a.Namespace}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Push gives the target another version, as the next deployment does.
func (a *App) Push(ctx context.Context, version Version) error {
	return a.Patch(ctx, kube.Deployments, a.Name, types.JSONPatchType,
		fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":%q}]`, a.Image(version)))
}

// Scale gives the target a number of pods, as Helm or a person does.
func (a *App) Scale(ctx context.Context, replicas int) error {
	return a.Patch(ctx, kube.Deployments, a.Name, types.MergePatchType,
		fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
}

// Crash ends the processes of the target's pods, and returns when that can be seen.
func (a *App) Crash(ctx context.Context) error {
	of := metav1.ListOptions{LabelSelector: "app=" + a.Name}
	pods, err := a.Client.CoreV1().Pods(a.Namespace).List(ctx, of)
	if err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return fmt.Errorf("crashing the pods of %s: there are none", a.Name)
	}
	for _, pod := range pods.Items {
		// the answer never comes: the process is gone
		_ = a.Client.CoreV1().RESTClient().Post().Namespace(a.Namespace).Resource("pods").Name(pod.Name +
			":8080").SubResource("proxy").Suffix("crash").Do(ctx).Error()
	}
	return a.Eventually(ctx, time.Minute, "the pods of "+a.Name+" have ended", func(ctx context.Context) (bool, error) {
		now, err := a.Client.CoreV1().Pods(a.Namespace).List(ctx, of)
		return err == nil && ended(now.Items), err
	})
}

func ended(pods []corev1.Pod) bool {
	for _, pod := range pods {
		for _, c := range pod.Status.ContainerStatuses {
			if c.RestartCount == 0 && c.State.Terminated == nil {
				return false
			}
		}
	}
	return true
}

// Patch changes an object of the namespace.
func (a *App) Patch(ctx context.Context, of schema.GroupVersionResource, name string, kind types.PatchType,
	patch string) error {
	_, err := a.Objects.Resource(of).Namespace(a.Namespace).Patch(ctx, name, kind, []byte(patch),
		metav1.PatchOptions{FieldManager: "somebody"})
	return err
}

// Deployment reads a Deployment.
func (a *App) Deployment(ctx context.Context, name string) (*appsv1.Deployment, error) {
	return a.Client.AppsV1().Deployments(a.Namespace).Get(ctx, name, metav1.GetOptions{})
}

// Route is the VirtualService of the application's name as it is stored.
func (a *App) Route(ctx context.Context) (*unstructured.Unstructured, error) {
	return a.route(ctx, a.Name)
}

func (a *App) route(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	return a.Objects.Resource(VirtualServices).Namespace(a.Namespace).Get(ctx, name, metav1.GetOptions{})
}

// Share is the canary's share in the first route of a VirtualService, in percent.
func (a *App) Share(ctx context.Context, virtualService string) (int64, error) {
	vs, err := a.route(ctx, virtualService)
	if err != nil {
		return 0, err
	}
	return share(vs, a.Name+"-canary"), nil
}

// State is how an application stands.
type State struct {
	Record   *record.Record
	Weight   int64  // the canary's share in the first route, in percent
	Target   int32  // pods that the target asks for
	Serves   string // image of the primary, empty for none
	Apex     string // what the apex Service selects
	Canaries int32  // available pods of the target
}

// State reads how the application stands. Without a VirtualService there is no record.
func (a *App) State(ctx context.Context) (State, error) {
	var s State
	target, err := a.Deployment(ctx, a.Name)
	if err != nil {
		return s, err
	}
	s.Target, s.Canaries = *target.Spec.Replicas, target.Status.AvailableReplicas
	if primary, err := a.Deployment(ctx, a.Name+"-primary"); err == nil {
		s.Serves = primary.Spec.Template.Spec.Containers[0].Image
	}
	if apex, err := a.Client.CoreV1().Services(a.Namespace).Get(ctx, a.Name, metav1.GetOptions{}); err == nil {
		s.Apex = apex.Spec.Selector["app"]
	}
	vs, err := a.Route(ctx)
	if apierrors.IsNotFound(err) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if text := vs.GetAnnotations()["serin.dev/run"]; text != "" {
		if s.Record, err = record.Parse(text); err != nil {
			return s, err
		}
	}
	s.Weight = share(vs, a.Name+"-canary")
	return s, nil
}

// share is the weight of a host in the first http route that has it.
func share(vs *unstructured.Unstructured, host string) int64 {
	var spec struct {
		HTTP []struct {
			Route []struct {
				Destination struct{ Host string }
				Weight      int64
			}
		}
	}
	text, _ := json.Marshal(vs.Object["spec"])
	_ = json.Unmarshal(text, &spec)
	for _, r := range spec.HTTP {
		for _, d := range r.Route {
			if strings.HasPrefix(d.Destination.Host, host) {
				return d.Weight
			}
		}
	}
	return 0
}

// Events are the messages of the target's events, oldest first.
func (a *App) Events(ctx context.Context) ([]string, error) {
	list, err := a.Client.CoreV1().Events(a.Namespace).List(ctx,
		metav1.ListOptions{FieldSelector: "reason=Synced,involvedObject.name=" + a.Name})
	if err != nil {
		return nil, err
	}
	sortEvents(list.Items)
	var messages []string
	for _, e := range list.Items {
		messages = append(messages, e.Message)
	}
	return messages, nil
}

// Load sends requests at a constant rate through the gateway until the returned function is called.
func (a *App) Load(ctx context.Context, rate int, each func(load.Second)) (stop func() *load.Report) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan *load.Report, 1)
	go func() {
		report, err := load.Run(ctx, load.Options{URL: a.Sandbox.Gateway, Host: a.Host, Rate: rate, EachSecond: each})
		if err != nil {
			panic(err) // options are the program's own
		}
		done <- report
	}()
	return func() *load.Report { cancel(); return <-done }
}

// Reached says whether the gateway answers for the application, for a second: a route reaches it before the last
// endpoint does, and a pod that is ending answers until the gateway hears of it.
func (a *App) Reached(ctx context.Context) bool {
	report, err := load.Run(ctx, load.Options{URL: a.Sandbox.Gateway, Host: a.Host, Rate: 30, Duration: time.Second})
	return err == nil && report.Total.Requests > 0 && report.Total.Statuses["200"] == report.Total.Requests
}

// Eventually waits until a condition holds.
func (a *App) Eventually(ctx context.Context, limit time.Duration, what string,
	holds func(context.Context) (bool, error)) error {
	return a.eventually(ctx, 400*time.Millisecond, limit, what, holds)
}

func (a *App) eventually(ctx context.Context, pause, limit time.Duration, what string,
	holds func(context.Context) (bool, error)) error {
	given := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		ok, err := holds(ctx)
		if ok {
			return nil
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if err := given.Err(); err != nil {
				return fmt.Errorf("waiting until %s: %w", what, err)
			}
			return fmt.Errorf("waiting until %s: not within %s (%v)", what, limit, last)
		case <-time.After(pause):
		}
	}
}
