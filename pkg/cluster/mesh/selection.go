package mesh

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Selection says in which routes an application's primary and canary share the traffic.
type Selection struct {
	// Names of the VirtualServices whose routes are shifted, separated by commas, all of the application's namespace.
	// They are shifted in step; the record of the run stands on the first. Empty takes the one of the application's
	// name. Needed if yours has another name, if you have several, such as one for a gateway and one for the mesh, or
	// if it delegates to another.
	VirtualServices []string `json:"virtualServices,omitempty" env:"VIRTUAL_SERVICES"`
	// Names of the routes that are shifted, separated by commas: names of http routes, or kind and index, as in tcp/0.
	// Empty takes each route that has both primary and canary as destinations, except one that gives the canary 100 %
	// while another does not.
	Routes []string `json:"routes,omitempty" env:"ROUTES"`
}

// First is the VirtualService that the record of a run stands on.
func (s Selection) First(app application.Application) string {
	if len(s.VirtualServices) == 0 {
		return app.Name
	}
	return s.VirtualServices[0]
}

// Others are the VirtualServices besides the first.
func (s Selection) Others() []string {
	if len(s.VirtualServices) == 0 {
		return nil
	}
	return s.VirtualServices[1:]
}

// Standard says whether the selection names no VirtualService but that of the application's name.
func (s Selection) Standard(app application.Application) bool {
	return len(s.VirtualServices) == 0 || slices.Equal(s.VirtualServices, []string{app.Name})
}

// Validate refuses what cannot be names of VirtualServices, and one that is named twice.
func (s Selection) Validate() error {
	var refusals failure.Refusals
	for i, name := range s.VirtualServices {
		if len(validation.IsDNS1123Subdomain(name)) > 0 {
			refusals.Addf(
				"reading virtual-services: %q, want names of VirtualServices of the application's namespace",
				name,
			)
		}
		if slices.Contains(s.VirtualServices[:i], name) {
			refusals.Addf("reading virtual-services: %s is there twice, want each once", name)
		}
	}
	for i, name := range s.Routes {
		if name == "" || slices.Contains(s.Routes[:i], name) {
			refusals.Addf("reading routes: %q is empty or there twice, want names of routes, each once", name)
		}
	}
	return refusals.Err()
}
