// Package releasetest keeps an application in a namespace of a real API server.
package releasetest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// App is an application, podinfo unless a test calls it otherwise, whose pods a test's kubelet runs. Its test needs a
// server with controllers.
type App struct {
	t         testing.TB
	Name      string
	Namespace string
	Node      *apitest.Node
	Client    *kubernetes.Clientset
	Cluster   *kube.Cluster
}

// Image is that of a version of podinfo.
func Image(version string) string { return "example.test/podinfo:" + version }

// New deploys version 1 with these changes, and waits until its pods are ready.
func New(t testing.TB, changes ...func(*appsv1.Deployment)) *App {
	t.Helper()
	a := Bare(t)
	a.Node = apitest.Kubelet(t, a.Namespace)
	target := deployment()
	for _, change := range changes {
		change(target)
	}
	a.Name = target.Name
	if _, err := a.Client.AppsV1().Deployments(a.Namespace).Create(t.Context(), target,
		metav1.CreateOptions{FieldManager: "chart"}); err != nil {
		t.Fatal(err)
	}
	a.Eventually("the target has its pods", func() bool {
		d := a.Deployment(target.Name)
		return d.Status.ObservedGeneration == d.Generation && d.Status.ReadyReplicas == *d.Spec.Replicas
	})
	return a
}

// Called gives the application another name than podinfo.
func Called(name string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		labels := map[string]string{"app": name}
		d.Name, d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = name, labels, labels
		d.Spec.Template.Spec.Containers[0].Name = name
	}
}

// Bare is a namespace without anything in it.
func Bare(t testing.TB) *App {
	t.Helper()
	a := &App{t: t, Name: "podinfo", Namespace: apitest.Namespace(t), Client: apitest.Client(t)}
	a.Cluster = a.connect()
	return a
}

func deployment() *appsv1.Deployment {
	labels, replicas := map[string]string{"app": "podinfo"}, int32(2)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "podinfo", Labels: map[string]string{"team": "web", "owner": "ann"}},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "podinfo", Image: Image("1"),
					Ports: []corev1.ContainerPort{{ContainerPort: 9898}}}}},
			}},
	}
}

// connect is a cluster that is reached through these transports.
func (a *App) connect(through ...func(http.RoundTripper) http.RoundTripper) *kube.Cluster {
	a.t.Helper()
	config := apitest.Config(a.t)
	for _, wrap := range through {
		config.Wrap(wrap)
	}
	cluster, err := kube.New(config)
	if err != nil {
		a.t.Fatal(err)
	}
	return cluster
}

// ID is that of the run with a name.
func (a *App) ID(name string) run.ID {
	return run.ID{Namespace: a.Namespace, Name: name, UID: "uid-" + name}
}

// Run is the application in the hands of a run, which reaches the cluster through these transports. Proxies
// are taken to have stopped at once.
func (a *App) Run(name string, through ...func(http.RoundTripper) http.RoundTripper) *release.Release {
	a.t.Helper()
	cluster := a.Cluster
	if len(through) > 0 {
		cluster = a.connect(through...)
	}
	r, err := release.New(cluster, a.Name, a.ID(name))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Drain = func(context.Context) error { return nil }
	return r
}

// Preparation is one with nothing special.
func Preparation() prepare.Preparation {
	return prepare.Preparation{
		Config:   prepare.Config{Port: 80, Hosts: []string{"podinfo.test"}, Gateways: []string{"public"}},
		Deadline: time.Minute,
		Probe:    func(context.Context) error { return nil },
	}
}

// Prepare prepares a release.
func (a *App) Prepare(r *release.Release) (run.Outcome, error) {
	outcome, _, err := prepare.Run(a.t.Context(), r, Preparation())
	return outcome, err
}

// First releases version 1 for the first time.
func (a *App) First() {
	a.t.Helper()
	outcome, err := a.Prepare(a.Run("first"))
	if err != nil || outcome != run.Initialized {
		a.t.Fatalf("first release: outcome %q (%v), want %q", outcome, err, run.Initialized)
	}
	a.Want(State{Phase: run.Closed, Outcome: run.Initialized, Primary: Image("1")})
}

// Second begins the release of version 2.
func (a *App) Second() *release.Release {
	a.t.Helper()
	a.First()
	a.Push("2")
	r := a.Run("second")
	outcome, err := a.Prepare(r)
	if err != nil || outcome != prepare.Proceed {
		a.t.Fatalf("preparing version 2: outcome %q (%v), want %q", outcome, err, prepare.Proceed)
	}
	return r
}

// UnreadyPrimary keeps the primary's pods of a version, made and to come, from being ready. The target's stay as
// they are at every moment: a promotion gives up on a canary that has none.
func (a *App) UnreadyPrimary(version string) {
	a.Node.ImageAndLabel(Image(version), "app="+a.Name+"-primary", apitest.Unready)
}

// Push gives the target another image, as a deployment pipeline does.
func (a *App) Push(version string) {
	a.t.Helper()
	a.Patch(a.Name, "continuous-delivery",
		fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":%q}]`, Image(version)))
}

// Patch writes a Deployment as some field manager.
func (a *App) Patch(deployment, manager, operations string) {
	a.t.Helper()
	_, err := a.Client.AppsV1().Deployments(a.Namespace).Patch(a.t.Context(), deployment, types.JSONPatchType,
		[]byte(operations), metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		a.t.Fatal(err)
	}
}

// Route writes the VirtualService as some field manager.
func (a *App) Route(manager, operations string) {
	a.t.Helper()
	_, err := a.Cluster.VirtualServices(a.Namespace).Patch(a.t.Context(), a.Name, types.JSONPatchType,
		[]byte(operations), metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		a.t.Fatal(err)
	}
}

// Delete deletes a Deployment.
func (a *App) Delete(deployment string) {
	a.t.Helper()
	if err := a.Client.AppsV1().Deployments(a.Namespace).Delete(a.t.Context(), deployment,
		metav1.DeleteOptions{}); err != nil {
		a.t.Fatal(err)
	}
}

// DeleteRoute deletes the VirtualService.
func (a *App) DeleteRoute() {
	a.t.Helper()
	if err := a.Cluster.VirtualServices(a.Namespace).Delete(a.t.Context(), a.Name,
		metav1.DeleteOptions{}); err != nil {
		a.t.Fatal(err)
	}
}

// Record overwrites the run's record as some field manager.
func (a *App) Record(manager, text string) {
	a.t.Helper()
	a.Route(manager, fmt.Sprintf(`[{"op":"replace","path":"/metadata/annotations/serin.dev~1run","value":%q}]`, text))
}

// VirtualService reads it.
func (a *App) VirtualService() *networking.VirtualService {
	a.t.Helper()
	vs, err := a.Cluster.VirtualServices(a.Namespace).Get(a.t.Context(), a.Name, metav1.GetOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	return vs
}

// Deployment reads one.
func (a *App) Deployment(name string) *appsv1.Deployment {
	a.t.Helper()
	d, err := a.Client.AppsV1().Deployments(a.Namespace).Get(a.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	return d
}

// Eventually waits until something holds.
func (a *App) Eventually(what string, holds func() bool) {
	a.t.Helper()
	apitest.Eventually(a.t, func(context.Context) error {
		if !holds() {
			return fmt.Errorf("%s: not yet", what)
		}
		return nil
	})
}

// State is what tests compare: who serves, and how the run stands.
type State struct {
	Weight  parameter.Weight
	Phase   run.Phase
	Outcome run.Outcome
	Stages  int    // of the record
	Target  int32  // replicas
	Primary string // image
	Apex    string // the pods that the Service selects
}

// State is that of now.
func (a *App) State() State {
	a.t.Helper()
	s, err := a.Run("observer").Fence.Read(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	now := State{
		Weight: s.Weight(), Target: *a.Deployment(a.Name).Spec.Replicas, Apex: a.Apex(),
		Primary: a.Deployment(a.Name + "-primary").Spec.Template.Spec.Containers[0].Image,
	}
	if s.Record != nil {
		now.Phase, now.Outcome, now.Stages = s.Record.Phase, s.Record.Outcome, len(s.Record.Stages)
	}
	return now
}

// Apex is the application that the apex Service selects.
func (a *App) Apex() string {
	a.t.Helper()
	apex, err := a.Client.CoreV1().Services(a.Namespace).Get(a.t.Context(), a.Name, metav1.GetOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	return apex.Spec.Selector["app"]
}

// Want compares the state; the apex Service always wants the primary.
func (a *App) Want(want State) {
	a.t.Helper()
	want.Apex = a.Name + "-primary"
	if diff := cmp.Diff(want, a.State()); diff != "" {
		a.t.Errorf("state (-want +got):\n%s", diff)
	}
}

// Events are the messages on the target, in order.
func (a *App) Events() []string {
	a.t.Helper()
	list, err := a.Client.CoreV1().Events(a.Namespace).List(a.t.Context(),
		metav1.ListOptions{FieldSelector: "reason=Synced"})
	if err != nil {
		a.t.Fatal(err)
	}
	messages := map[string]string{}
	for _, e := range list.Items {
		messages[e.Name] = e.Message // the name begins with the time
	}
	var ordered []string
	for _, name := range slices.Sorted(maps.Keys(messages)) {
		ordered = append(ordered, messages[name])
	}
	return ordered
}

// WantEvents looks for texts in the target's events, in order; several may be in one.
func (a *App) WantEvents(texts ...string) {
	a.t.Helper()
	all := strings.Join(a.Events(), "\n")
	rest := all
	for _, text := range texts {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			a.t.Errorf("event %q is missing, or out of order, in:\n%s", text, all)
			return
		}
		rest = after
	}
}

// Served is an error unless the apex Service selects a pod that is ready, and so does the canary's where it
// has traffic.
func (a *App) Served(ctx context.Context) error {
	services := []string{a.Name}
	if s, err := a.Run("observer").Fence.Read(ctx); err == nil && s.Weight() > 0 {
		services = append(services, a.Name+"-canary", a.Name+"-primary")
	}
	for _, name := range services {
		service, err := a.Client.CoreV1().Services(a.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		selector := metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: service.Spec.Selector})
		pods, err := a.Client.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(pods.Items, ready) {
			return fmt.Errorf("Service %s selects %s: none of %d pods is ready", name, selector, len(pods.Items))
		}
	}
	return nil
}

func ready(pod corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// ReplicaSets are those of a Deployment.
func (a *App) ReplicaSets(deployment string) []appsv1.ReplicaSet {
	a.t.Helper()
	list, err := a.Client.AppsV1().ReplicaSets(a.Namespace).List(a.t.Context(),
		metav1.ListOptions{LabelSelector: "app=" + deployment})
	if err != nil {
		a.t.Fatal(err)
	}
	return list.Items
}

// MustBeServed fails the test where the application is not served.
func (a *App) MustBeServed() {
	a.t.Helper()
	if err := a.Served(a.t.Context()); err != nil {
		a.t.Errorf("not served: %v", err)
	}
}

// ApexService makes the Service that the application had before its first release, and waits until it serves.
func (a *App) ApexService() {
	a.t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: a.Name}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": a.Name}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}},
	}}
	if _, err := a.Client.CoreV1().Services(a.Namespace).Create(a.t.Context(), service,
		metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		a.t.Fatal(err)
	}
	apitest.Eventually(a.t, a.Served)
}

// Pod is the name of one pod of a version.
func (a *App) Pod(version string) string {
	a.t.Helper()
	list, err := a.Client.CoreV1().Pods(a.Namespace).List(a.t.Context(),
		metav1.ListOptions{LabelSelector: "app=" + a.Name})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && pod.Spec.Containers[0].Image == Image(version) {
			return pod.Name
		}
	}
	a.t.Fatalf("no pod of version %s among %d", version, len(list.Items))
	return ""
}
