package apitest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	istioapi "istio.io/api/networking/v1"
	istiov1 "istio.io/client-go/pkg/apis/networking/v1"
	istio "istio.io/client-go/pkg/clientset/versioned"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/apitest"
)

func TestMain(m *testing.M) { apitest.Own(m, apitest.Controllers) }

func TestServesIstioAndTekton(t *testing.T) {
	config, namespace := apitest.Config(t), apitest.Namespace(t)
	client, err := istio.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	service := &istiov1.VirtualService{ObjectMeta: metav1.ObjectMeta{Name: "podinfo"}}
	service.Spec.Hosts = []string{"podinfo"}
	service.Spec.Http = []*istioapi.HTTPRoute{{
		Route: []*istioapi.HTTPRouteDestination{{Destination: &istioapi.Destination{Host: "podinfo"}}},
	}}
	if _, err := client.NetworkingV1().VirtualServices(namespace).Create(t.Context(), service,
		metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	lists, err := apitest.Client(t).Discovery().ServerResourcesForGroupVersion("tekton.dev/v1")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range lists.APIResources {
		names = append(names, r.Name)
	}
	for _, want := range []string{"tasks", "pipelines", "pipelineruns"} {
		if !strings.Contains(strings.Join(names, " "), want) {
			t.Errorf("tekton.dev/v1 has %v, want %s among them", names, want)
		}
	}
}

func TestRolesCount(t *testing.T) {
	config, namespace := apitest.Config(t), apitest.Namespace(t)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + namespace + ":default"}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("listing secrets without a role: %v, want forbidden", err)
	}
}

func TestRollsDeploymentsOut(t *testing.T) {
	namespace := apitest.Namespace(t)
	node := apitest.Kubelet(t, namespace)
	deployments := apitest.Client(t).AppsV1().Deployments(namespace)
	if _, err := deployments.Create(t.Context(), deployment("podinfo:1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	available := func(want int32) func(context.Context) error {
		return func(ctx context.Context) error {
			d, err := deployments.Get(ctx, "podinfo", metav1.GetOptions{})
			if err == nil && (d.Status.AvailableReplicas != want || d.Status.ObservedGeneration != d.Generation) {
				err = fmt.Errorf("%d replicas are available, want %d", d.Status.AvailableReplicas, want)
			}
			return err
		}
	}
	apitest.Eventually(t, available(2))

	node.Image("podinfo:1", apitest.Unready)
	apitest.Eventually(t, available(0))

	node.Label("app=podinfo", apitest.CrashLoop)
	apitest.Eventually(t, func(ctx context.Context) error {
		pods, err := apitest.Client(t).CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			for _, s := range pod.Status.ContainerStatuses {
				if s.RestartCount == 3 && s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff" {
					return nil
				}
			}
		}
		return fmt.Errorf("no pod of %d is crash-looping", len(pods.Items))
	})

	if _, err := deployments.Update(t.Context(), deployment("podinfo:2"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	node.Label("app=podinfo", apitest.Ready)
	apitest.Eventually(t, available(2))
}

func deployment(image string) *appsv1.Deployment {
	replicas, labels := int32(2), map[string]string{"app": "podinfo"}
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "podinfo"}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas,
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "podinfo", Image: image}}},
		},
	}}
}
