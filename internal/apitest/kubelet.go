package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// Condition is how a pod's containers are.
type Condition struct {
	Ready    bool
	Restarts int32
	Waiting  string // the reason why they do not run; empty: they run
}

// The conditions that tests ask for most.
var (
	Ready     = Condition{Ready: true}
	Unready   = Condition{}
	CrashLoop = Condition{Restarts: 3, Waiting: "CrashLoopBackOff"}
)

// Node plays the kubelet for the pods of one namespace: they run and are ready as soon as they are
// made, unless a rule says otherwise.
type Node struct {
	t      testing.TB
	client kubernetes.Interface
	pods   corelisters.PodLister
	mu     sync.Mutex
	rules  []rule
	halted bool
}

type rule struct {
	applies   func(*corev1.Pod) bool
	condition Condition
}

// Kubelet starts a node for a namespace. It stops when the test ends.
func Kubelet(t testing.TB, namespace string) *Node {
	t.Helper()
	client := Client(t)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	n := &Node{t: t, client: client, pods: factory.Core().V1().Pods().Lister()}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(pod any) { n.run(pod.(*corev1.Pod)) },
		UpdateFunc: func(_, pod any) { n.run(pod.(*corev1.Pod)) },
	}
	if _, err := factory.Core().V1().Pods().Informer().AddEventHandler(handler); err != nil {
		t.Fatalf("watching pods: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	factory.StartWithContext(ctx)
	t.Cleanup(func() { stop(); factory.Shutdown() })
	return n
}

// Stop leaves all pods, made and to come, as they are: the test plays the kubelet itself.
func (n *Node) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.halted = true
}

// Image gives a condition to the pods, made and to come, that have a container of this image. A later rule wins.
func (n *Node) Image(image string, c Condition) {
	n.add(rule{condition: c, applies: func(pod *corev1.Pod) bool { return has(pod, image) }})
}

// ImageAndLabel gives a condition to the pods, made and to come, that have both. A later rule wins.
func (n *Node) ImageAndLabel(image, selector string, c Condition) {
	n.t.Helper()
	selects := n.parse(selector)
	n.add(rule{condition: c, applies: func(pod *corev1.Pod) bool { return has(pod, image) && selects(pod) }})
}

func has(pod *corev1.Pod, image string) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Image == image })
}

// Label gives a condition to the pods, made and to come, that a label selector such as "app=podinfo" selects. A later
// rule wins.
func (n *Node) Label(selector string, c Condition) {
	n.t.Helper()
	n.add(rule{condition: c, applies: n.parse(selector)})
}

func (n *Node) parse(selector string) func(*corev1.Pod) bool {
	n.t.Helper()
	selects, err := labels.Parse(selector)
	if err != nil {
		n.t.Fatalf("reading selector %q: %v", selector, err)
	}
	return func(pod *corev1.Pod) bool { return selects.Matches(labels.Set(pod.Labels)) }
}

// Name gives a condition to one pod. A later rule wins.
func (n *Node) Name(pod string, c Condition) {
	n.add(rule{condition: c, applies: func(p *corev1.Pod) bool { return p.Name == pod }})
}

func (n *Node) add(r rule) {
	n.mu.Lock()
	n.rules = append(n.rules, r)
	n.mu.Unlock()
	pods, err := n.pods.List(labels.Everything())
	if err != nil {
		n.t.Errorf("listing pods: %v", err)
	}
	for _, pod := range pods {
		n.run(pod)
	}
}

// run brings a pod's status to what the last rule that applies to it says.
func (n *Node) run(pod *corev1.Pod) {
	n.mu.Lock() // held to the end, so that an old rule is not written after a new one
	defer n.mu.Unlock()
	if n.halted {
		return
	}
	want := Ready
	for _, r := range n.rules {
		if r.applies(pod) {
			want = r.condition
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := want.Write(ctx, n.client, pod); err != nil {
		n.t.Error(err)
	}
}

// Write brings the status of a pod to the condition, as a kubelet does. A pod that goes, or is gone, stays as it is.
func (c Condition) Write(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil || current(pod) == c && pod.Status.Phase == corev1.PodRunning {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status(pod, c)})
	if err == nil {
		_, err = client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch,
			metav1.PatchOptions{}, "status")
	}
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // gone, or another of the same name
		return fmt.Errorf("writing the status of pod %s: %w", pod.Name, err)
	}
	return nil
}

// current is the condition that a pod's status shows.
func current(pod *corev1.Pod) Condition {
	var c Condition
	for _, s := range pod.Status.ContainerStatuses {
		c.Ready, c.Restarts = s.Ready, s.RestartCount
		if s.State.Waiting != nil {
			c.Waiting = s.State.Waiting.Reason
		}
	}
	return c
}

// status is what a kubelet writes for a pod in a condition.
func status(pod *corev1.Pod, c Condition) corev1.PodStatus {
	now := metav1.Now()
	ready := corev1.ConditionFalse
	if c.Ready {
		ready = corev1.ConditionTrue
	}
	s := corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &now, PodIP: "192.0.2.1", PodIPs: []corev1.PodIP{{IP: "192.0.2.1"}},
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.ContainersReady, Status: ready, LastTransitionTime: now},
			{Type: corev1.PodReady, Status: ready, LastTransitionTime: now},
		},
	}
	for _, container := range pod.Spec.Containers {
		state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
		if c.Waiting != "" {
			state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: c.Waiting}}
		}
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: container.Image, State: state,
			Ready: c.Ready, RestartCount: c.Restarts,
		})
	}
	return s
}
