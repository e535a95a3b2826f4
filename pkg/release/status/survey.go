package status

import (
	"cmp"
	"slices"
	"strings"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release/weight"
)

// Other is a Deployment that serves without Serin.
type Other struct {
	Namespace string
	Name      string
	Labels    map[string]string
	Serving   Version
	Hosts     []string // of the VirtualService of its name, if there is one
	Replicas  int32    // that it wants
}

// left are the Deployments that are of none of the applications, in the order of their names.
func left(all []Application, routes map[string]weight.Routes,
	deployments map[application.Application]*workload.Deployment) (others []Other) {
	for _, a := range all {
		app := application.Application{Namespace: a.Namespace, Name: a.Name}
		delete(deployments, app)
		delete(deployments, application.Application{Namespace: app.Namespace, Name: app.Primary()})
	}
	for app, d := range deployments {
		o := Other{Namespace: app.Namespace, Name: app.Name, Labels: d.Labels, Serving: version(d, ""),
			Replicas: d.Wanted()}
		if vs := routes[app.Namespace].VirtualServices[app.Name]; vs != nil {
			o.Hosts = vs.Spec.Hosts
		}
		others = append(others, o)
	}
	slices.SortFunc(others, func(x, y Other) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	return others
}

// versionLabel is where charts write the version of what they deploy.
const versionLabel = "app.kubernetes.io/version"

// inAWord is the version of a Deployment in a word: the label of its pods if they have one, else the tag of the image of
// the container with the Deployment's name, or of the first one; of an image with a digest alone that digest's first
// digits.
func inAWord(d *workload.Deployment) string {
	if name := d.Spec.Template.Metadata.Labels[versionLabel]; name != "" {
		return name
	}
	containers := d.Spec.Template.Spec.Containers
	if len(containers) == 0 {
		return ""
	}
	own := slices.IndexFunc(containers, func(c workload.Container) bool {
		return c.Name == strings.TrimSuffix(d.Name, "-primary")
	})
	return Tag(containers[max(0, own)].Image)
}

// Tag is that of an image, else the first digits of its digest, else latest.
func Tag(image string) string {
	name, digest, _ := strings.Cut(Shortened(image), "@")
	if _, tag, ok := strings.Cut(name, ":"); ok {
		return tag
	}
	_, digits, _ := strings.Cut(digest, ":")
	return cmp.Or(workload.Short(digits), "latest")
}
