package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	istio "istio.io/client-go/pkg/clientset/versioned/typed/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-cd/serin/pkg/task/failure"
)

const istioGroup = "networking.istio.io"

// The resources that steps use.
var (
	Deployments  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	ReplicaSets  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	Pods         = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	Services     = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	Events       = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	ConfigMaps   = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	Leases       = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	Namespaces   = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	PipelineRuns = schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "pipelineruns"}
	Pipelines    = schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "pipelines"}
	TaskRuns     = schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "taskruns"}
	HPAs         = schema.GroupVersionResource{Group: "autoscaling", Version: "v2",
		Resource: "horizontalpodautoscalers"}
	Budgets = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
	// VirtualServices and DestinationRules are Istio's, where their members are not looked at.
	VirtualServices  = schema.GroupVersionResource{Group: istioGroup, Version: "v1", Resource: "virtualservices"}
	DestinationRules = schema.GroupVersionResource{Group: istioGroup, Version: "v1", Resource: "destinationrules"}
	// ScaledObjects are KEDA's, which is not in every cluster.
	ScaledObjects = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}
)

// Cluster is a Kubernetes API server and its clock.
type Cluster struct {
	*Clock
	objects dynamic.Interface
	mesh    istio.NetworkingV1Interface
	plain   rest.Interface // for what is no object
}

// Connect uses the file in KUBECONFIG if it is set, else the pod's own account.
func Connect() (*Cluster, error) {
	config, err := Config()
	if err != nil {
		return nil, err
	}
	return New(config)
}

// Config is what Connect connects with.
func Config() (*rest.Config, error) {
	config, err := restConfig(os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil,
			failure.Configf("connecting to the cluster: %w: run in a pod with a service account, or set KUBECONFIG",
				err)
	}
	return config, nil
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig != "" {
		return clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	return rest.InClusterConfig()
}

// New connects with a configuration of its own.
func New(config *rest.Config) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = "serin/" + filepath.Base(os.Args[0])
	config.QPS = -1 // a step makes a handful of calls
	clock := &Clock{known: make(chan struct{})}
	config.Wrap(clock.wrap)
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", config.Host, err)
	}
	mesh, err := istio.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", config.Host, err)
	}
	config.GroupVersion = &schema.GroupVersion{Version: "v1"}
	config.APIPath = "/api"
	config.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	plain, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", config.Host, err)
	}
	return &Cluster{Clock: clock, objects: objects, mesh: mesh, plain: plain}, nil
}

// LastLine is what a container printed last before it ended, or while it runs if it has not; empty where that cannot be
// read.
func (c *Cluster) LastLine(ctx context.Context, namespace, pod, container string) string {
	for _, previous := range []string{"true", "false"} {
		text, err := c.plain.Get().Namespace(namespace).Resource("pods").Name(pod).SubResource("log").
			Param("container", container).Param("tailLines", "1").Param("previous", previous).
			Param("limitBytes", "1000").DoRaw(ctx)
		if err == nil && len(text) > 0 {
			return string(text)
		}
	}
	return ""
}

// Objects is the client of a kind of object in a namespace.
func (c *Cluster) Objects(resource schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	return c.objects.Resource(resource).Namespace(namespace)
}

// VirtualServices is the client of a namespace's VirtualServices.
func (c *Cluster) VirtualServices(namespace string) istio.VirtualServiceInterface {
	return c.mesh.VirtualServices(namespace)
}

// DestinationRules is the client of a namespace's DestinationRules.
func (c *Cluster) DestinationRules(namespace string) istio.DestinationRuleInterface {
	return c.mesh.DestinationRules(namespace)
}
