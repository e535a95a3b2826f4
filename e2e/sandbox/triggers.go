package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/serin-cd/serin/e2e/sandbox/image"
	"github.com/serin-cd/serin/e2e/sandbox/internal/build"
	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// triggersPrograms are Tekton Triggers' own. The sink is what an EventListener runs.
var triggersPrograms = []string{"controller", "webhook", "interceptors", "eventlistenersink"}

func triggersImages(built programs) []image.Image {
	var all []image.Image
	for _, name := range triggersPrograms {
		all = append(all, image.Image{
			Ref:        triggersImage(name),
			Files:      map[string]string{"/ko-app/" + name: filepath.Join(built.triggers, name)},
			Entrypoint: []string{"/ko-app/" + name},
		})
	}
	return all
}

func triggersImage(name string) string {
	return "serin.test/triggers-" + name + ":" + build.TriggersVersion
}

// bootTriggers installs Tekton Triggers beside Tekton, and returns when its interceptors are known: an EventListener
// that is asked before answers as if a signature was wrong.
func (s *Sandbox) bootTriggers(ctx context.Context, p *progress.Reporter, apply *applier, client kubernetes.Interface,
	b *building) error {
	if err := b.wait(ctx, triggers); err != nil {
		return err
	}
	if err := s.load(ctx, triggers, triggersImages(b.programs)); err != nil {
		return err
	}
	first, deployments, interceptors, err := triggersObjects(filepath.Join(b.triggers, triggers+".yaml"))
	if err != nil {
		return err
	}
	for _, objects := range [][]*unstructured.Unstructured{first, deployments} {
		if err := apply.applyAll(ctx, objects); err != nil {
			return fmt.Errorf("installing Tekton Triggers: %w", err)
		}
	}
	for _, d := range deployments {
		if err := waitDeployment(ctx, client, d.GetNamespace(), d.GetName()); err != nil {
			return err
		}
	}
	err = poll(ctx, bootLimit, "Tekton Triggers' webhook to take interceptors", func(ctx context.Context) error {
		return apply.applyAll(ctx, interceptors)
	})
	if err != nil {
		return err
	}
	err = poll(ctx, bootLimit, "Tekton Triggers' interceptors to be trusted", func(ctx context.Context) error {
		return trusted(ctx, apply, interceptors)
	})
	if err != nil {
		return err
	}
	p.Say("boot: Tekton Triggers takes EventListeners")
	return nil
}

// triggersObjects are Tekton Triggers' Deployments, what they need, and what their webhook must have taken.
func triggersObjects(file string) (first, deployments, interceptors []*unstructured.Unstructured, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, nil, err
	}
	objects, err := decode([]byte(triggersManifest(string(text))))
	if err != nil {
		return nil, nil, nil, err
	}
	for _, o := range objects {
		switch o.GetKind() {
		case "Deployment":
			deployments = append(deployments, probeOften(o))
		case "ClusterInterceptor":
			interceptors = append(interceptors, o)
		default:
			first = append(first, o)
		}
	}
	return first, deployments, interceptors, nil
}

// triggersManifest puts this sandbox's images into Tekton Triggers' own manifests.
func triggersManifest(text string) string {
	var images []string
	for _, name := range triggersPrograms {
		images = append(images, `"ko://github.com/tektoncd/triggers/cmd/`+name+`"`, `"`+triggersImage(name)+`"`)
	}
	return strings.NewReplacer(images...).Replace(text)
}

var interceptorResource = schema.GroupVersionResource{Group: "triggers.tekton.dev", Version: "v1alpha1",
	Resource: "clusterinterceptors"}

// trusted says whether each interceptor has the certificate of the program that serves it, which writes it there.
func trusted(ctx context.Context, a *applier, interceptors []*unstructured.Unstructured) error {
	for _, o := range interceptors {
		got, err := a.dynamic.Resource(interceptorResource).Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		bundle, _, _ := unstructured.NestedString(got.Object, "spec", "clientConfig", "caBundle")
		if bundle == "" {
			return errors.New("ClusterInterceptor " + o.GetName() + " has no certificate yet")
		}
	}
	return nil
}
