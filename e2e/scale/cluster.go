package scale

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/serin-cd/serin/e2e/bench"
	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

const (
	perNamespace = 10 // applications
	atOnce       = 8  // calls of the setup
	before       = "serin.test/app:1"
	after        = "serin.test/app:2"
)

// deploy makes the namespaces with Serin's account and rights in each, and the applications as a chart would.
func (w *world) deploy(ctx context.Context) error {
	rights, err := readAll(filepath.Join(w.root, "config", "rbac.yaml"))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := 0; i < len(w.apps); i += perNamespace {
		g.Go(func() error {
			if err := w.namespace(ctx, w.apps[i].Namespace, rights); err != nil {
				return err
			}
			for _, a := range w.apps[i:min(i+perNamespace, len(w.apps))] {
				if err := w.application(ctx, a); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (w *world) namespace(ctx context.Context, name string, rights []*unstructured.Unstructured) error {
	if _, err := w.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making namespace %s: %w", name, err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}} // that pods run as
	if _, err := w.client.CoreV1().ServiceAccounts(name).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the default account of %s: %w", name, err)
	}
	for _, object := range rights {
		kind := object.GroupVersionKind()
		resource := kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")
		if _, err := w.cluster.Objects(resource, name).Create(ctx, object.DeepCopy(),
			metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making %s %s of %s: %w", kind.Kind, object.GetName(), name, err)
		}
	}
	return nil
}

func (w *world) application(ctx context.Context, a *app) error {
	labels, one := map[string]string{"app": a.Name}, int32(1)
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: a.Name}, Spec: appsv1.DeploymentSpec{
		Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "app", Image: before, Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			}}}},
	}}
	if _, err := w.client.AppsV1().Deployments(a.Namespace).Create(ctx, deployment,
		metav1.CreateOptions{FieldManager: "chart"}); err != nil {
		return fmt.Errorf("making Deployment %s: %w", a, err)
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: a.Name}, Spec: corev1.ServiceSpec{
		Selector: labels, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
	}}
	if _, err := w.client.CoreV1().Services(a.Namespace).Create(ctx, service,
		metav1.CreateOptions{FieldManager: "chart"}); err != nil {
		return fmt.Errorf("making Service %s: %w", a, err)
	}
	return nil
}

// push gives the target the new version, as the next deployment does.
func (w *world) push(ctx context.Context, a *app) error {
	patch := fmt.Appendf(nil, `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":%q}]`, after)
	_, err := w.client.AppsV1().Deployments(a.Namespace).Patch(ctx, a.Name, types.JSONPatchType, patch,
		metav1.PatchOptions{FieldManager: "chart"})
	if err != nil {
		return fmt.Errorf("pushing %s: %w", a, err)
	}
	return nil
}

// nodes play the kubelet for all pods until ctx ends: they are ready as soon as they are made, except new primaries of
// releases whose promotion is to end halfway.
func (w *world) nodes(ctx context.Context) error {
	stuck := map[string]bool{}
	for _, a := range w.apps {
		stuck[a.Primary()] = a.ending.name == halfway.name
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	err := kube.Follow(ctx, w.client.CoreV1().Pods(""), metav1.ListOptions{},
		func(_ watch.EventType, object runtime.Object) (bool, error) {
			pod, ok := object.(*corev1.Pod)
			if !ok {
				return false, nil
			}
			condition := apitest.Ready
			if stuck[pod.Labels["app"]] && pod.Spec.Containers[0].Image == after {
				condition = apitest.Unready
			}
			g.Go(func() error { return condition.Write(ctx, w.client, pod) })
			return false, nil
		})
	return errors.Join(err, g.Wait())
}

// pod is what a task's steps have in common.
type pod struct {
	dir        string // of its results
	kubeconfig string
	place      *place
}

// pod makes the results' folder of a task, and a kubeconfig with which its steps act as the account serin of their
// namespace, in this pod.
func (r *pipelineRun) pod(attempt, task string) (pod, error) {
	name := r.name + "-" + attempt + "-pod"
	p := pod{dir: filepath.Join(r.dir, "runs", r.app.Namespace, name), place: r.programs.place()}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return p, err
	}
	r.remember(podKey{r.app.Namespace, name}, podOf{r.app, r.name, task})
	admin := r.server.Config()
	config := api.NewConfig()
	config.Clusters["scale"] = &api.Cluster{Server: admin.Host, CertificateAuthorityData: admin.CAData}
	config.AuthInfos["scale"] = &api.AuthInfo{
		Token: admin.BearerToken, Impersonate: "system:serviceaccount:" + r.app.Namespace + ":serin",
		ImpersonateUserExtra: map[string][]string{bench.PodName: {name}},
	}
	config.Contexts["scale"] = &api.Context{Cluster: "scale", AuthInfo: "scale"}
	config.CurrentContext = "scale"
	p.kubeconfig = filepath.Join(p.dir, "kubeconfig")
	return p, clientcmd.WriteToFile(*config, p.kubeconfig)
}

// readAll reads the objects of a file.
func readAll(file string) ([]*unstructured.Unstructured, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		object := &unstructured.Unstructured{}
		if err == nil {
			err = yaml.Unmarshal(document, &object.Object)
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if object.GroupVersionKind() != (schema.GroupVersionKind{}) {
			objects = append(objects, object)
		}
	}
}
