package interleaving_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/interleaving"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Own(m) }

// script does everything that Serin does to the API, and tells what came of it. Objects are named in what it tells by
// versions counted from the first.
func script(t *testing.T, config *rest.Config, namespace string) []string {
	t.Helper()
	cluster, err := kube.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var told []string
	versions := map[string]int{}
	tell := func(what string, o *unstructured.Unstructured, err error) {
		switch {
		case err != nil:
			told = append(told, fmt.Sprintf("%s: %s, transient %v, raced %v", what, apierrors.ReasonForError(err),
				kube.Transient(err), kube.Raced(err)))
		default:
			if _, ok := versions[o.GetResourceVersion()]; !ok {
				versions[o.GetResourceVersion()] = len(versions)
			}
			replicas, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
			told = append(told, fmt.Sprintf("%s: %s generation %d version %d replicas %d %v", what, o.GetName(),
				o.GetGeneration(), versions[o.GetResourceVersion()], replicas, o.GetAnnotations()))
		}
	}
	deployments := cluster.Objects(kube.Deployments, namespace)
	stream := make(chan watch.Event, 100)
	patch := func(what, name, body string) {
		o, err := deployments.Patch(ctx, name, types.JSONPatchType, []byte(body),
			metav1.PatchOptions{FieldManager: "serin"})
		tell(what, o, err)
	}
	o, err := deployments.Get(ctx, "podinfo", metav1.GetOptions{})
	tell("get what is not there", o, err)
	patch("patch what is not there", "podinfo", `[]`)
	o, err = deployments.Create(ctx, deployment(), metav1.CreateOptions{})
	tell("create", o, err)
	o, err = deployments.Create(ctx, deployment(), metav1.CreateOptions{})
	tell("create again", o, err)
	first := o
	if first == nil {
		first, _ = deployments.Get(ctx, "podinfo", metav1.GetOptions{})
	}
	w, err := deployments.Watch(ctx, kube.Named("podinfo"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for e := range w.ResultChan() {
			stream <- e
		}
	}()
	patch("test what is absent for null, annotate", "podinfo",
		`[{"op":"test","path":"/metadata/annotations/serin.dev~1run","value":null},{"op":"add","path":"/metadata/annotations/serin.dev~1run","value":"a"}]`)
	patch("test what is there for null", "podinfo",
		`[{"op":"test","path":"/metadata/annotations/serin.dev~1run","value":null},{"op":"add","path":"/spec/replicas","value":5}]`)
	patch("test the value", "podinfo",
		`[{"op":"test","path":"/metadata/annotations/serin.dev~1run","value":"a"},{"op":"add","path":"/spec/replicas","value":0}]`)
	patch("test another value", "podinfo",
		`[{"op":"test","path":"/metadata/annotations/serin.dev~1run","value":"b"},{"op":"add","path":"/spec/replicas","value":7}]`)
	patch("change nothing", "podinfo", `[{"op":"add","path":"/spec/replicas","value":0}]`)
	patch("test an old version", "podinfo",
		fmt.Sprintf(`[{"op":"test","path":"/metadata/resourceVersion","value":%q},{"op":"add","path":"/spec/replicas","value":7}]`, first.GetResourceVersion()))
	now, _ := deployments.Get(ctx, "podinfo", metav1.GetOptions{})
	patch("test this version", "podinfo",
		fmt.Sprintf(`[{"op":"test","path":"/metadata/resourceVersion","value":%q},{"op":"add","path":"/spec/replicas","value":3}]`, now.GetResourceVersion()))
	patch("remove what is absent", "podinfo", `[{"op":"remove","path":"/metadata/annotations/none"}]`)
	patch("replace what is absent", "podinfo", `[{"op":"replace","path":"/metadata/annotations/none","value":"x"}]`)
	patch("remove", "podinfo", `[{"op":"remove","path":"/metadata/annotations/serin.dev~1run"}]`)
	o, err = deployments.Get(ctx, "podinfo", metav1.GetOptions{})
	tell("get", o, err)
	list, err := deployments.List(ctx, metav1.ListOptions{LabelSelector: "app=podinfo"})
	told = append(told, fmt.Sprint("list ", len(list.Items), " ", err))
	list, err = deployments.List(ctx, metav1.ListOptions{LabelSelector: "app=other"})
	told = append(told, fmt.Sprint("list others ", len(list.Items), " ", err))
	if err := deployments.Delete(ctx, "podinfo", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		e := <-stream
		tell("seen "+string(e.Type), e.Object.(*unstructured.Unstructured), nil)
		if e.Type == watch.Deleted {
			told = told[:len(told)-1] // a server may give it a version of its own
			w.Stop()
			return append(told, "seen DELETED")
		}
	}
}

func deployment() *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "podinfo", "labels": map[string]any{"app": "podinfo"},
			"annotations": map[string]any{"x": "y"}},
		"spec": map[string]any{"replicas": int64(2),
			"selector": map[string]any{"matchLabels": map[string]any{"app": "podinfo"}}, "template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": "podinfo"}},
				"spec": map[string]any{"containers": []any{map[string]any{"name": "podinfo",
					"image": "example.test/podinfo:1"}}},
			}},
	}}
	return o
}

// TestTheModelIsLikeTheServer does the same to both.
func TestTheModelIsLikeTheServer(t *testing.T) {
	config, namespace := apitest.Config(t), apitest.Namespace(t)
	real := script(t, config, namespace)
	modelled := script(t, &rest.Config{Host: "http://model", Transport: interleaving.New()}, namespace)
	if !slices.Equal(real, modelled) {
		t.Errorf("the server:\n%s\nthe model:\n%s", strings.Join(real, "\n"), strings.Join(modelled, "\n"))
	}
}

// TestTheLeaseIsKeptAlike takes, loses and releases a Lease on both.
func TestTheLeaseIsKeptAlike(t *testing.T) {
	namespace := apitest.Namespace(t)
	tell := func(config *rest.Config) (told []string) {
		cluster, err := kube.New(config)
		if err != nil {
			t.Fatal(err)
		}
		by := func(name string) lease.Lease {
			return lease.Lease{Objects: cluster.Objects(kube.Leases, namespace), App: app(namespace),
				Holder: run.ID{Namespace: namespace, Name: name, UID: "u"}, Clock: cluster}
		}
		free := func(string, bool) (bool, error) { return true, nil }
		held := func(string, bool) (bool, error) { return false, nil }
		for _, do := range []func() error{
			func() error { return by("a").Renew(t.Context()) },
			func() error { return by("a").Acquire(t.Context(), held) },
			func() error { return by("a").Renew(t.Context()) },
			func() error { return by("b").Renew(t.Context()) },
			func() error { return by("b").Acquire(t.Context(), free) },
			func() error { return by("a").Release(t.Context()) },
			func() error { return by("b").Release(t.Context()) },
			func() error { return by("a").Acquire(t.Context(), held) },
		} {
			err := do()
			now, _ := by("a").Get(t.Context())
			told = append(told, fmt.Sprint(err == nil, kube.Raced(err), now != nil && lease.Holder(now) != ""))
		}
		return told
	}
	real, modelled := tell(apitest.Config(t)), tell(&rest.Config{Host: "http://model", Transport: interleaving.New()})
	if !reflect.DeepEqual(real, modelled) {
		t.Errorf("the server %v, the model %v", real, modelled)
	}
}

func app(namespace string) application.Application {
	return application.Application{Namespace: namespace, Name: "podinfo"}
}
