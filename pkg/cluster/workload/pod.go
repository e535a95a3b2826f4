package workload

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// templateHash is the label by which the Deployment controller tells pods and ReplicaSets of one template from others.
const templateHash = "pod-template-hash"

// pod is what is read of a Pod.
type pod struct {
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Status struct {
		Phase      string `json:"phase"`
		Reason     string `json:"reason"`
		Message    string `json:"message"`
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"conditions"`
		InitContainerStatuses []containerStatus `json:"initContainerStatuses"`
		ContainerStatuses     []containerStatus `json:"containerStatuses"`
	} `json:"status"`
}

type containerStatus struct {
	Name         string         `json:"name"`
	RestartCount int32          `json:"restartCount"`
	State        containerState `json:"state"`
	LastState    containerState `json:"lastState"`
}

type containerState struct {
	Waiting *struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"waiting"`
	Running    *struct{}   `json:"running"`
	Terminated *terminated `json:"terminated"`
}

type terminated struct {
	Reason   string `json:"reason"`
	ExitCode int32  `json:"exitCode"`
	Message  string `json:"message"`
}

func readPod(u *unstructured.Unstructured) (p pod, err error) {
	if err = runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &p); err != nil {
		err = fmt.Errorf("reading Pod %s: %w", u.GetName(), err)
	}
	return p, err
}

// trouble is what keeps a pod from becoming ready, in the words of scheduler and kubelet, and whether no time mends it;
// empty where nothing does that they tell. lastLine is asked for what a crashed container printed last.
func (p pod) trouble(lastLine func(container string) string) (text string, final bool) {
	for _, c := range p.Status.Conditions {
		if c.Type == "PodScheduled" && c.Status == "False" && c.Message != "" {
			return fmt.Sprintf("no node takes pod %s: %s", p.Metadata.Name, c.Message), false
		}
	}
	if p.Status.Phase == "Failed" && p.Status.Reason != "" {
		return fmt.Sprintf("pod %s failed: %s: %s", p.Metadata.Name, p.Status.Reason, p.Status.Message), false
	}
	for _, c := range p.Status.InitContainerStatuses {
		if what, final := c.trouble(lastLine); what != "" {
			return fmt.Sprintf("init container %s of pod %s %s", c.Name, p.Metadata.Name, what), final
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if what, final := c.trouble(lastLine); what != "" {
			return fmt.Sprintf("container %s of pod %s %s", c.Name, p.Metadata.Name, what), final
		}
	}
	return "", false
}

// secondCrash is the crash after which a container is not waited for any more.
const secondCrash = 2

func (c containerStatus) trouble(lastLine func(container string) string) (text string, final bool) {
	if crashes, end := c.crashes(); crashes > 0 {
		said := end.Message
		if said == "" && lastLine != nil {
			said = lastLine(c.Name)
		}
		text = fmt.Sprintf("crashed, %s, exit code %d", end.Reason, end.ExitCode)
		if crashes >= secondCrash {
			text = fmt.Sprintf("crashed %d times, %s, exit code %d", crashes, end.Reason, end.ExitCode)
		}
		if lines := strings.Split(strings.TrimSpace(said), "\n"); lines[len(lines)-1] != "" {
			text += ", last line: " + cut(lines[len(lines)-1])
		}
		return text, crashes >= secondCrash
	}
	if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" &&
		w.Reason != "PodInitializing" {
		text := strings.TrimSuffix(fmt.Sprintf("waits: %s: %s", w.Reason, w.Message), ": ")
		return text, unpullable(w.Reason, w.Message)
	}
	return "", false
}

// crashes counts how often a container has ended with an error, and how it did the last time.
func (c containerStatus) crashes() (int32, *terminated) {
	end := c.State.Terminated
	n := c.RestartCount
	switch {
	case end != nil && end.ExitCode != 0:
		n++
	case end != nil || c.LastState.Terminated == nil || c.LastState.Terminated.ExitCode == 0:
		return 0, nil
	default:
		end = c.LastState.Terminated
		if c.State.Waiting != nil { // it has ended since it was last counted
			n++
		}
	}
	return n, end
}

// unpullable says whether an image is none that anybody could pull.
func unpullable(reason, message string) bool {
	switch reason {
	case "InvalidImageName", "ErrImageNeverPull":
		return true
	case "ErrImagePull", "ImagePullBackOff":
		for _, none := range []string{"not found", "manifest unknown", "name unknown", "does not exist"} {
			if strings.Contains(strings.ToLower(message), none) {
				return true
			}
		}
	}
	return false
}

// longestLine is how much is told of a line that a container printed, in bytes.
const longestLine = 200

func cut(line string) string {
	if len(line) <= longestLine {
		return line
	}
	return strings.ToValidUTF8(line[:longestLine], "") + "…"
}

// templateHash finds the hash of a Deployment's present template; empty where it is not known yet.
func (c Deployments) templateHash(ctx context.Context, d *Deployment) string {
	if c.ReplicaSets == nil {
		return ""
	}
	all, err := c.ReplicaSets.List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		if !kube.Transient(err) {
			slog.Warn("not known which pods are new", "deployment", d.Name, "error", err.Error())
		}
		return ""
	}
	for _, set := range all.Items {
		owner := metav1.GetControllerOf(&set)
		if owner != nil && owner.UID == d.UID &&
			set.GetAnnotations()[revisionNumber] == d.Annotations[revisionNumber] {
			return set.GetLabels()[templateHash]
		}
	}
	return ""
}
