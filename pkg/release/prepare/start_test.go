package prepare_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// oneByOne lets the pods of a version become ready one after another.
func oneByOne(t *testing.T, a *releasetest.App, version string, each time.Duration) {
	t.Helper()
	a.Node.Image(releasetest.Image(version), apitest.Unready)
	ready := map[string]bool{}
	tick := time.NewTicker(each)
	t.Cleanup(tick.Stop)
	go func() {
		for range tick.C {
			pods, err := a.Client.CoreV1().Pods(a.Namespace).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				return
			}
			for _, pod := range pods.Items {
				if pod.Spec.Containers[0].Image == releasetest.Image(version) && !ready[pod.Name] {
					ready[pod.Name] = true
					a.Node.Name(pod.Name, apitest.Ready)
					break
				}
			}
		}
	}()
}

// TestSlowButProgressing gives a canary of eight pods, each of which takes a second, a deadline of three seconds.
func TestSlowButProgressing(t *testing.T) {
	a := releasetest.New(t, func(d *appsv1.Deployment) { *d.Spec.Replicas = 8 })
	a.First()
	oneByOne(t, a, "2", time.Second)
	a.Push("2")
	begun := time.Now()
	outcome, err := prepared(t, a.Run("run"), func(p *prepare.Preparation) { p.Deadline = 3 * time.Second })
	if err != nil || outcome != prepare.Proceed || time.Since(begun) < 5*time.Second {
		t.Errorf("outcome %q (%v) after %s, want %q, after more than the deadline", outcome, err, time.Since(begun),
			prepare.Proceed)
	}
}

// TestWhatKeepsThePods tells it in the words of scheduler and kubelet, and ends early what no time mends.
func TestWhatKeepsThePods(t *testing.T) {
	waiting := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	container := func(state corev1.ContainerState) func(*corev1.PodStatus) {
		return func(s *corev1.PodStatus) {
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "podinfo", State: state}}
		}
	}
	cases := map[string]struct {
		status func(*corev1.PodStatus)
		early  bool
		text   string
	}{
		"no such image": {container(waiting("ErrImagePull", `failed to pull "podinfo:2": not found`)), true,
			`waits: ErrImagePull: failed to pull "podinfo:2": not found`},
		"no image's name": {container(waiting("InvalidImageName", "couldn't parse image name")), true,
			"waits: InvalidImageName: couldn't parse"},
		"a registry that is away": {container(waiting("ErrImagePull", "connection refused")), false,
			"container podinfo of pod podinfo-"},
		"no node": {func(s *corev1.PodStatus) {
			s.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
				Reason: "Unschedulable", Message: "0/3 nodes are available: 3 Insufficient cpu."}}
		}, false, "no node takes pod podinfo-"},
		"a second crash": {func(s *corev1.PodStatus) {
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "podinfo", RestartCount: 1,
				State: waiting("CrashLoopBackOff", "back-off 10s"),
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
					Reason: "Error", ExitCode: 7, Message: "starting\nno database"}}}}
		}, true, "crashed 2 times, Error, exit code 7, last line: no database"},
		"a failing init container": {func(s *corev1.PodStatus) {
			s.InitContainerStatuses = []corev1.ContainerStatus{{Name: "migrate", RestartCount: 2,
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
					Reason: "Error", ExitCode: 1, Message: "no schema"}}}}
		}, true, "init container migrate of pod podinfo-"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			a.First()
			a.Node.Stop()
			a.Push("2")
			go a.Eventually("the pods have their status", func() bool {
				pods, err := a.Client.CoreV1().Pods(a.Namespace).List(t.Context(), metav1.ListOptions{
					LabelSelector: "app=podinfo"})
				written := 0
				for _, pod := range pods.Items {
					c.status(&pod.Status)
					if _, failed := a.Client.CoreV1().Pods(a.Namespace).UpdateStatus(t.Context(), &pod,
						metav1.UpdateOptions{}); failed == nil {
						written++
					}
				}
				return err == nil && written == 2
			})
			begun := time.Now()
			deadline := 8 * time.Second
			if c.early {
				deadline = time.Minute
			}
			_, err := prepared(t, a.Run("run"), func(p *prepare.Preparation) { p.Deadline = deadline })
			if failure.Code(err) != failure.ExitRejected || !strings.Contains(fmt.Sprint(err), c.text) ||
				c.early && time.Since(begun) > 30*time.Second {
				t.Errorf("after %s error %v (exit %d), want %s in it (exit %d)", time.Since(begun), err,
					failure.Code(err), c.text, failure.ExitRejected)
			}
			a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Target: 2,
				Primary: releasetest.Image("1")})
		})
	}
}

// TestPolicyRefusesTheCanary ends long before the deadline, with the policy's words.
func TestPolicyRefusesTheCanary(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	a.Eventually("the target has no pods", func() bool { return a.Deployment("podinfo").Status.Replicas == 0 })
	apitest.Deny(t, a.Namespace, "", "pods", "no pods here")
	a.Push("2")
	begun := time.Now()
	_, err := prepared(t, a.Run("run"), nothing)
	if failure.Code(err) != failure.ExitRejected || !strings.Contains(fmt.Sprint(err), "cannot become ready") ||
		!strings.Contains(fmt.Sprint(err), "no pods here") || time.Since(begun) > 40*time.Second {
		t.Errorf("after %s error %v (exit %d), want the policy's words (exit %d)", time.Since(begun), err,
			failure.Code(err), failure.ExitRejected)
	}
}
