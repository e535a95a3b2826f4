package application

import "strings"

// Metadata says which labels and annotations the objects that Serin makes take over from the application's own.
type Metadata struct {
	// Prefixes of the labels and annotations that the primary and Serin's Services take over from the application's
	// Deployment and Service, separated by commas, such as team,example.com/. Empty takes over all but those by which
	// other tools know their objects.
	Include []string `env:"METADATA_INCLUDE"`
	// Prefixes of those that they do not take over, separated by commas, whatever metadata-include says.
	Exclude []string `env:"METADATA_EXCLUDE"`
}

// marks are prefixes of labels and annotations by which tools know the objects that they keep, or give images to. A
// copy that had them would be changed, pruned or published by the tool as one of its own.
var marks = []string{
	"kubectl.kubernetes.io/", "deployment.kubernetes.io/", "serin.dev/",
	"meta.helm.sh/", "helm.sh/", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance",
	"argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/", "fluxcd.io/",
	"config.kubernetes.io/", "cli-utils.sigs.k8s.io/", "configsync.gke.io/", "configmanagement.gke.io/",
	"kapp.k14s.io/", "objectset.rio.cattle.io/", "pulumi.com/", "external-dns.alpha.kubernetes.io/",
	"endpoints.kubernetes.io/", "field.cattle.io/",
	"applyset.kubernetes.io/", "config.k8s.io/", "kluctl.io/", "tanka.dev/", "qbec.io/",
	"keel.sh/", "image.openshift.io/triggers", "cloud.google.com/neg", "tailscale.com/",
	"autoscaling.keda.sh/paused", "scaledobject.keda.sh/", "autoscaling.alpha.kubernetes.io/",
}

// Of are the labels or annotations that are taken over.
func (m Metadata) Of(from map[string]string) map[string]string {
	taken := map[string]string{}
	for key, value := range from {
		if len(m.Include) > 0 && !begins(key, m.Include) || begins(key, m.Exclude) || begins(key, marks) {
			continue
		}
		taken[key] = value
	}
	return taken
}

func begins(key string, prefixes []string) bool {
	for _, p := range prefixes {
		if p != "" && strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}
