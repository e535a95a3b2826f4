package sandbox

import "io"

// DefaultName is that of the sandbox which `make sandbox` leaves running.
const DefaultName = "default"

// Options say what Up makes.
type Options struct {
	Name   string    // default DefaultName; sandboxes of different names run side by side
	Detach bool      // it stays when this program ends, until Down
	Out    io.Writer // told how far it is; nil for silence
	Bare   bool      // Kubernetes alone, without Tekton, mesh, Prometheus and application images

	// MetricsServer has metrics-server beside the rest, for autoscalers.
	MetricsServer bool
	// Flagger has Flagger beside the rest, for applications that move from it or back.
	Flagger bool
	// Triggers has Tekton Triggers beside the rest, for webhooks that start Pipelines.
	Triggers bool

	// Existing is used in place of a sandbox where its Context is given. Nothing is built or booted.
	Existing Existing
}

// Facts are what others need to know of a sandbox.
type Facts struct {
	Name       string `json:"name"`
	Kubeconfig string `json:"kubeconfig"` // of a cluster administrator
	Context    string `json:"context,omitempty"`
	APIServer  string `json:"apiServer"`
	Gateway    string `json:"gateway,omitempty"`    // URL; requests choose a VirtualService by their Host header
	Prometheus string `json:"prometheus,omitempty"` // URL, for this machine

	// PodPrometheus is the URL for pods.
	PodPrometheus string `json:"podPrometheus,omitempty"`

	// GatewaySelector are the labels by which an Istio Gateway chooses the ingress gateway.
	GatewaySelector map[string]string `json:"gatewaySelector,omitempty"`

	// Registry is the repository that images are pushed to where the cluster is not a sandbox's own.
	Registry string `json:"registry,omitempty"`

	Envoy  string `json:"envoy,omitempty"`  // URL of Envoy's administration
	NodeIP string `json:"nodeIP,omitempty"` // the node, which also answers on NodePorts
	HostIP string `json:"hostIP,omitempty"` // this machine, as the node reaches it
	Dir    string `json:"dir,omitempty"`    // all its state; log/ has one file per component
	// every API call: JSON lines of audit.k8s.io/v1 Events, with user and userAgent
	AuditLog string `json:"auditLog,omitempty"`
	// the program that is kubectl, by its first argument, and all of Kubernetes
	Kube string `json:"kube,omitempty"`
}
