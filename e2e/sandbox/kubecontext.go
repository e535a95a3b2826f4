package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/e2e/sandbox/image"
)

// podPrometheus is where pods find Prometheus in a sandbox, and in a cluster of which nothing else is said.
const podPrometheus = "http://prometheus.istio-system:" + promPort

// Existing is a cluster that is there already, and is used as it is.
type Existing struct {
	Context         string // of KUBECONFIG
	Prometheus      string // URL of its Prometheus, as this machine reaches it
	PodPrometheus   string // the same for pods; default http://prometheus.istio-system:9090
	Gateway         string // URL of its ingress gateway, as this machine reaches it
	GatewaySelector string // labels of the gateway's pods, default istio=ingressgateway
	Registry        string // a repository that this machine may push to, and nodes may pull from without a secret
}

// FromEnvironment is the cluster that KUBECONTEXT and the variables beside it name.
func FromEnvironment() Existing {
	return Existing{
		Context:         os.Getenv("KUBECONTEXT"),
		Prometheus:      os.Getenv("PROMETHEUS_URL"),
		PodPrometheus:   os.Getenv("POD_PROMETHEUS_URL"),
		Gateway:         os.Getenv("GATEWAY_URL"),
		GatewaySelector: os.Getenv("GATEWAY_SELECTOR"),
		Registry:        os.Getenv("KO_DOCKER_REPO"),
	}
}

// use checks that somebody's cluster has what a sandbox has, and names all that it lacks. It changes nothing there.
func use(ctx context.Context, e Existing) (*Sandbox, error) {
	s := &Sandbox{Facts: Facts{
		Name: e.Context, Context: e.Context, Kubeconfig: os.Getenv("KUBECONFIG"),
		Prometheus: strings.TrimSuffix(e.Prometheus, "/"), PodPrometheus: strings.TrimSuffix(e.PodPrometheus, "/"),
		Gateway: strings.TrimSuffix(e.Gateway, "/"), Registry: strings.TrimSuffix(e.Registry, "/"),
	}}
	if strings.Contains(s.Kubeconfig, string(os.PathListSeparator)) {
		s.Kubeconfig = "" // client-go merges the list by itself
	}
	missing := s.check(ctx, e)
	if len(missing) > 0 {
		return nil, fmt.Errorf("using context %s: nothing was changed, because something is missing:\n  - %s",
			e.Context, strings.Join(missing, "\n  - "))
	}
	return s, nil
}

// check fills in what is not given and names what is missing.
func (s *Sandbox) check(ctx context.Context, e Existing) []string {
	var missing []string
	note := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }

	if _, err := exec.LookPath("kubectl"); err != nil {
		note("kubectl: %v", err)
	}
	if s.Facts.Prometheus == "" {
		note("the URL of its Prometheus: set PROMETHEUS_URL to one that this machine can reach")
	} else if err := answers(ctx, s.Facts.Prometheus+"/api/v1/query?query=1", "success"); err != nil {
		note("Prometheus at PROMETHEUS_URL=%s does not answer queries: %v", s.Facts.Prometheus, err)
	}
	if u, err := url.Parse(s.Gateway); s.Gateway == "" {
		note("the URL of its ingress gateway: set GATEWAY_URL to one that this machine can reach")
	} else if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		note("the URL of its ingress gateway: GATEWAY_URL is %q, want one like http://192.0.2.1", s.Gateway)
	}
	if s.Registry == "" {
		note("a registry for the images: set KO_DOCKER_REPO to a repository that this machine may push to and nodes " +
			"may pull from")
	} else if err := image.Pushable(s.Registry + "/" + demoApp); err != nil {
		note("a registry for the images: pushing to KO_DOCKER_REPO=%s: %v", s.Registry, err)
	}
	selector := e.GatewaySelector
	if selector == "" {
		selector = "istio=ingressgateway"
	}
	var err error
	if s.GatewaySelector, err = labels.ConvertSelectorToLabelsMap(selector); err != nil {
		note("GATEWAY_SELECTOR=%s: %v; want labels like istio=ingressgateway", selector, err)
	}
	return append(missing, s.checkCluster(ctx)...)
}

// checkCluster names what the API server does not serve.
func (s *Sandbox) checkCluster(ctx context.Context) []string {
	config, err := s.REST()
	if err != nil {
		return []string{err.Error()}
	}
	s.APIServer = config.Host
	config = rest.CopyConfig(config)
	config.Timeout = 30 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return []string{err.Error()}
	}
	if _, err := client.Discovery().ServerVersion(); err != nil {
		return []string{fmt.Sprintf("an API server that answers: asking %s for its version: %v", config.Host, err)}
	}
	missing := absent(client)
	if s.PodPrometheus == "" {
		s.PodPrometheus = podPrometheus
		if _, err := client.CoreV1().Services("istio-system").Get(ctx, "prometheus",
			metav1.GetOptions{}); apierrors.IsNotFound(err) {
			missing = append(missing,
				fmt.Sprintf("the URL of its Prometheus for pods: there is no %s; set POD_PROMETHEUS_URL",
					podPrometheus))
		}
	}
	return missing
}

// absent names the kinds that a cluster needs and does not have.
func absent(client kubernetes.Interface) []string {
	var missing []string
	for _, want := range []struct{ group, resource, remedy string }{
		{"tekton.dev/v1", "pipelineruns", "install Tekton Pipelines 1.13 or later"},
		{"networking.istio.io/v1", "virtualservices", "install Istio 1.22 or later"},
		{"networking.istio.io/v1", "gateways", "install Istio 1.22 or later, with an ingress gateway"},
	} {
		if err := served(client, want.group, want.resource); err != nil {
			missing = append(missing, fmt.Sprintf("%s of %s: %v; %s", want.resource, want.group, err, want.remedy))
		}
	}
	return missing
}

func served(client kubernetes.Interface, group, resource string) error {
	list, err := client.Discovery().ServerResourcesForGroupVersion(group)
	if err != nil {
		return err
	}
	for _, r := range list.APIResources {
		if r.Name == resource {
			return nil
		}
	}
	return errors.New("not served")
}
