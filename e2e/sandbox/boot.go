package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/serin-cd/serin/e2e/sandbox/image"
	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// bootLimit is for each thing that is waited for: a machine under load is slow, not broken.
const bootLimit = 3 * time.Minute

// boot starts the components in their order, installs what runs in the cluster, and returns when all of it is usable.
func (s *Sandbox) boot(ctx context.Context, p *progress.Reporter, b *building, o Options) error {
	config, err := s.REST()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	apply, err := s.applier()
	if err != nil {
		return err
	}
	task := p.Start("boot", "starting Kubernetes")
	loaded := make(chan struct{}) // when Tekton's images are on the node
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.bootNode(ctx, b, loaded, o.Bare) })
	group.Go(func() error {
		if err := s.bootControlPlane(ctx, client); err != nil {
			return err
		}
		p.Say("boot: the API server is ready")
		if o.MetricsServer {
			group.Go(func() error { return s.bootMetrics(ctx, apply, client, b) })
		}
		if !o.Bare {
			group.Go(func() error { return s.bootMesh(ctx, p, apply, client, b) })
			group.Go(func() error {
				if err := s.bootTekton(ctx, p, apply, client, b, loaded); err != nil || !o.Triggers {
					return err
				}
				return s.bootTriggers(ctx, p, apply, client, b)
			})
		}
		if o.Flagger && !o.Bare {
			group.Go(func() error { return s.bootFlagger(ctx, apply, b) })
		}
		if err := s.bootCluster(ctx, apply, client); err != nil {
			return err
		}
		p.Say("boot: Kubernetes is ready, cluster DNS answers")
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	task.Done("sandbox %s is up", s.Name)
	return s.writeFacts()
}

// bootNode loads images, as they are built, and starts kubelet as soon as it can start a pod.
func (s *Sandbox) bootNode(ctx context.Context, b *building, loaded chan<- struct{}, bare bool) error {
	if err := s.waitContainerd(ctx); err != nil {
		return err
	}
	if err := s.load(ctx, "node", nodeImages(b.programs)); err != nil {
		return err
	}
	if err := s.Start(ctx, Kubelet); err != nil || bare {
		return err
	}
	if err := b.wait(ctx, "tekton"); err != nil {
		return err
	}
	if err := s.load(ctx, "tekton", tektonImages(b.programs)); err != nil {
		return err
	}
	close(loaded)
	if err := b.wait(ctx, "app"); err != nil {
		return err
	}
	return s.load(ctx, "apps", appImages("serin.test/app", b.app))
}

// load packs images and imports them into the node.
func (s *Sandbox) load(ctx context.Context, name string, images []image.Image) error {
	file, err := archive(name, images)
	if err != nil {
		return err
	}
	return s.LoadImages(ctx, file)
}

// bootControlPlane waits for the API server's own start, without which the others end at once: the roles that they need
// are part of /readyz.
func (s *Sandbox) bootControlPlane(ctx context.Context, client kubernetes.Interface) error {
	err := poll(ctx, bootLimit, "the API server", func(ctx context.Context) error {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range []string{ControllerManager, Scheduler, KubeProxy} {
		if err := s.Start(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// bootCluster waits until the cluster does its work. Ready is not usable: bare pods are refused before the service
// account exists, and kube-proxy knows CoreDNS up to a second later than the API server.
func (s *Sandbox) bootCluster(ctx context.Context, apply *applier, client kubernetes.Interface) error {
	dns, err := render("coredns.yaml", s.node.cfg)
	if err != nil {
		return err
	}
	if err := apply.apply(ctx, dns); err != nil {
		return err
	}
	err = poll(ctx, bootLimit, "the node to be Ready", func(ctx context.Context) error {
		n, err := client.CoreV1().Nodes().Get(ctx, hostname, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return nodeReady(n)
	})
	if err != nil {
		return err
	}
	err = poll(ctx, bootLimit, "the service account of namespace default", func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return err
	}
	if err := waitDeployment(ctx, client, "kube-system", "coredns"); err != nil {
		return err
	}
	return poll(ctx, bootLimit, "cluster DNS to answer on the node", func(ctx context.Context) error {
		out, err := s.Command(ctx, "getent", "hosts", "kubernetes.default.svc.cluster.local").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

func nodeReady(n *corev1.Node) error {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("node %s is not Ready", n.Name)
}

// waitDeployment waits until all replicas of the Deployment's present template are available.
func waitDeployment(ctx context.Context, client kubernetes.Interface, namespace, name string) error {
	return poll(ctx, bootLimit, "Deployment "+namespace+"/"+name, func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return deploymentReady(d)
	})
}

func deploymentReady(d *appsv1.Deployment) error {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	if d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas < want ||
		d.Status.AvailableReplicas < want {
		return fmt.Errorf("%d of %d replicas are available", d.Status.AvailableReplicas, want)
	}
	return nil
}

// bootMetrics starts metrics-server and waits until the API server asks it for the node's use of processors.
func (s *Sandbox) bootMetrics(ctx context.Context, apply *applier, client kubernetes.Interface, b *building) error {
	if err := b.wait(ctx, MetricsServer); err != nil {
		return err
	}
	objects, err := render("metrics-server.yaml", s.node.cfg)
	if err != nil {
		return err
	}
	if err := apply.apply(ctx, objects); err != nil {
		return err
	}
	if err := s.Start(ctx, MetricsServer); err != nil {
		return err
	}
	return poll(ctx, bootLimit, "metrics-server to know the node", func(ctx context.Context) error {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/nodes", hostname).
			DoRaw(ctx)
		return err
	})
}

// bootFlagger installs Flagger's definitions and starts it.
func (s *Sandbox) bootFlagger(ctx context.Context, apply *applier, b *building) error {
	if err := b.wait(ctx, flaggerCRDs, Flagger); err != nil {
		return err
	}
	definitions, err := os.ReadFile(b.flaggerCRDs)
	if err != nil {
		return err
	}
	if err := apply.apply(ctx, definitions); err != nil {
		return err
	}
	if err := s.Start(ctx, Flagger); err != nil {
		return err
	}
	return poll(ctx, bootLimit, "Flagger to be ready", func(ctx context.Context) error {
		return answers(ctx, "http://"+net.JoinHostPort(s.NodeIP, flaggerPort)+"/healthz", "")
	})
}

// bootMesh installs Istio's definitions and starts istiod, the gateway and Prometheus' Service.
func (s *Sandbox) bootMesh(ctx context.Context, p *progress.Reporter, apply *applier, client kubernetes.Interface,
	b *building) error {
	if err := s.installMesh(ctx, apply, b); err != nil {
		return err
	}
	if err := s.Start(ctx, Istiod); err != nil {
		return err
	}
	err := poll(ctx, bootLimit, "istiod's webhook to answer", func(ctx context.Context) error {
		return dryRun(ctx, client, "/apis/networking.istio.io/v1/namespaces/default/virtualservices", `{"apiVersion": "networking.istio.io/v1",
			"kind": "VirtualService", "metadata": {"name": "probe"}, "spec": {"hosts": ["probe"], "http": [{"route": [{"destination": {"host": "probe"}}]}]}}`)
	})
	if err != nil {
		return err
	}
	// Envoy waits longer and longer between its tries to reach an istiod that is not there.
	err = poll(ctx, bootLimit, "istiod to be ready", func(ctx context.Context) error {
		return answers(ctx, "http://"+net.JoinHostPort(s.NodeIP, istiodPort)+"/ready", "")
	})
	if err != nil {
		return err
	}
	if err := s.Start(ctx, Envoy); err != nil {
		return err
	}
	err = poll(ctx, bootLimit, "the gateway to have istiod's configuration", func(ctx context.Context) error {
		return answers(ctx, s.Envoy+"/ready", "LIVE")
	})
	if err != nil {
		return err
	}
	err = poll(ctx, bootLimit, "Prometheus to answer", func(ctx context.Context) error {
		return answers(ctx, s.Facts.Prometheus+"/-/ready", "")
	})
	if err != nil {
		return err
	}
	p.Say("boot: istiod, the gateway and Prometheus are ready")
	return nil
}

// installMesh applies Istio's definitions and the objects of the gateway and Prometheus, and returns when their
// programs are there.
func (s *Sandbox) installMesh(ctx context.Context, apply *applier, b *building) error {
	if err := b.wait(ctx, "istio-crds"); err != nil {
		return err
	}
	definitions, err := os.ReadFile(b.crds)
	if err != nil {
		return err
	}
	if err := apply.apply(ctx, definitions); err != nil {
		return err
	}
	objects, err := render("mesh-objects.yaml", s.node.cfg)
	if err != nil {
		return err
	}
	if err := apply.apply(ctx, objects); err != nil {
		return err
	}
	return b.wait(ctx, "istiod", "envoy")
}

// dryRun creates an object without storing it: whether the API server, and all the webhooks that it asks, take it.
func dryRun(ctx context.Context, client kubernetes.Interface, path, object string) error {
	return client.CoreV1().RESTClient().Post().AbsPath(path).Param("dryRun", "All").Body([]byte(object)).
		SetHeader("Content-Type", "application/json").Do(ctx).Error()
}
