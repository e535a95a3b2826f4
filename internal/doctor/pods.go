package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// podSecurity has the API server check pods like Tekton's and the application's, and forget them: Pod Security, quotas
// and policies refuse them then as they would later.
func podSecurity(ctx context.Context, p Patient) []Finding {
	_, err := p.Cluster.Objects(namespaces, "").Get(ctx, p.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return wrong("there is no namespace "+p.Namespace, "make it, or name another with -n")
	}
	all := p.taskPods(ctx)
	if p.Application != "" {
		all = append(all, p.applicationPods(ctx)...)
	}
	if len(all) == 0 {
		return fine("the API server takes the pods of Tasks and of the application")
	}
	return all
}

// taskPods are refusals of the pods of the first Task. Without it, or its account, there would be none.
func (p Patient) taskPods(ctx context.Context) []Finding {
	object, err := p.Cluster.Objects(tasks, p.Namespace).Get(ctx, "canary-prepare", metav1.GetOptions{})
	if err != nil {
		return missing(err)
	}
	if _, err := p.Cluster.Objects(accounts, p.Namespace).Get(ctx, p.Account, metav1.GetOptions{}); err != nil {
		return missing(err)
	}
	flags, err := data(ctx, p.Cluster, "feature-flags")
	if err != nil {
		return unseen(err)
	}
	var task pipelinev1.Task
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &task); err != nil {
		return unseen(err)
	}
	refused, err := p.refusal(ctx, taskPod(task.Spec, p.Account, flags["set-security-context"] == "true"))
	switch {
	case err != nil:
		return unseen(err)
	case strings.Contains(refused, "violates PodSecurity"):
		return wrong("Pod Security refuses Tekton's pods: "+refused,
			`set set-security-context: "true" in ConfigMap feature-flags of Tekton`)
	case refused != "":
		return wrong("the API server refuses Tekton's pods: "+refused, "change what the text names, for pods with the "+
			"label app.kubernetes.io/managed-by=tekton-pipelines")
	}
	return nil
}

// missing is nothing where there is nothing to look at, of which another check tells.
func missing(err error) []Finding {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return unseen(err)
}

// restricted is what Tekton gives its own containers with set-security-context.
var restricted = &corev1.SecurityContext{
	AllowPrivilegeEscalation: ptr.To(false), RunAsNonRoot: ptr.To(true),
	Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
}

// taskPod is a pod as Tekton makes it of a Task, as far as what admits pods looks at it.
func taskPod(task pipelinev1.TaskSpec, account string, secure bool) *corev1.Pod {
	first := corev1.Container{Name: "prepare", Image: "tekton"}
	if secure {
		first.SecurityContext = restricted
	}
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/managed-by": "tekton-pipelines"}},
		Spec: corev1.PodSpec{ServiceAccountName: account, RestartPolicy: corev1.RestartPolicyNever,
			InitContainers: []corev1.Container{first}},
	}
	for _, step := range task.Steps {
		c := corev1.Container{Name: "step-" + step.Name, Image: "serin", SecurityContext: step.SecurityContext,
			Resources: step.ComputeResources}
		if task.StepTemplate != nil && c.SecurityContext == nil {
			c.SecurityContext = task.StepTemplate.SecurityContext
		}
		made.Spec.Containers = append(made.Spec.Containers, c)
	}
	return made
}

// applicationPods are refusals of the pods that the application has now.
func (p Patient) applicationPods(ctx context.Context) []Finding {
	object, err := p.Cluster.Objects(kube.Deployments, p.Namespace).Get(ctx, p.Application, metav1.GetOptions{})
	if err != nil {
		return missing(err)
	}
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &d); err != nil {
		return unseen(err)
	}
	refused, err := p.refusal(ctx, &corev1.Pod{ObjectMeta: d.Spec.Template.ObjectMeta, Spec: d.Spec.Template.Spec})
	if err != nil {
		return unseen(err)
	}
	if refused != "" {
		return wrong(fmt.Sprintf("the API server refuses the pods of %s, and so a canary's: %s", p.Application,
			refused), "change the pod template, or what the text names")
	}
	return nil
}

// refusal is what stands against a pod; nothing where it would be made, or a webhook cannot rehearse.
func (p Patient) refusal(ctx context.Context, made *corev1.Pod) (string, error) {
	made.GenerateName, made.Name = "serin-doctor-", ""
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(made)
	if err != nil {
		return "", err
	}
	u := &unstructured.Unstructured{Object: object}
	u.SetAPIVersion("v1")
	u.SetKind("Pod")
	_, err = p.Cluster.Objects(kube.Pods, p.Namespace).Create(ctx, u, kube.Rehearsal.Create())
	switch {
	case err == nil, strings.Contains(err.Error(), "does not support dry run"):
		return "", nil
	case strings.Contains(err.Error(), "cannot create resource"): // it is we who may not
		return "", err
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return err.Error(), nil
	}
	return "", err
}

// sidecars finds out whether Istio injects its proxy into the pods of Tasks.
func sidecars(ctx context.Context, p Patient) []Finding {
	const annotation = "sidecar.istio.io/inject"
	advice := fmt.Sprintf("give the Pipeline or its Tasks the annotation %s: %q, as Serin's have it", annotation,
		"false")
	list, err := p.Cluster.Objects(kube.Pods, p.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: "tekton.dev/taskRun"})
	if err != nil {
		return unseen(err)
	}
	for _, o := range list.Items {
		var found corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &found); err != nil {
			return unseen(err)
		}
		if slices.ContainsFunc(append(found.Spec.Containers, found.Spec.InitContainers...),
			func(c corev1.Container) bool { return c.Name == "istio-proxy" }) {
			return warning(fmt.Sprintf("pod %s of TaskRun %s has a sidecar: a step may begin before it, and not "+
				"reach the API server, and each Task takes longer", found.Name,
				found.Labels["tekton.dev/taskRun"]), advice)
		}
	}
	return fine("no pod of a Task has a sidecar")
}
