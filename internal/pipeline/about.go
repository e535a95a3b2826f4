package pipeline

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Version is Serin's, in labels.
const Version = "0.1.0"

// minVersion is the oldest Tekton Pipelines that runs finally after timeouts.tasks.
const minVersion = "1.13.0"

// About is the metadata that the catalogs of Tekton ask for.
func About(name, title string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:   name,
		Labels: map[string]string{"app.kubernetes.io/part-of": "serin", "app.kubernetes.io/version": Version},
		Annotations: map[string]string{
			"sidecar.istio.io/inject":         "false",
			"tekton.dev/pipelines.minVersion": minVersion,
			"tekton.dev/categories":           "Deployment, Networking",
			"tekton.dev/tags":                 "canary, istio, progressive-delivery",
			"tekton.dev/displayName":          title,
			"tekton.dev/platforms":            "linux/amd64,linux/arm64",
		},
	}
}
