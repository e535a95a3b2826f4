package mesh

import (
	"maps"
	"slices"
	"strings"

	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// allSidecars is the gateway that stands for the mesh, and what a VirtualService without gateways is for.
const allSidecars = "mesh"

// Taken refuses to make a VirtualService for a host that another of the namespace has at the same gateway: which of the
// two Istio obeys is not defined.
func Taken(all map[string]*networking.VirtualService, app application.Application, hosts, gateways []string) error {
	var refusals failure.Refusals
	mine, places := qualified(app, hostsOf(app, hosts)), placed(app.Namespace, gateways)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		other := all[name]
		if name == app.Name {
			continue
		}
		for _, host := range qualified(app, other.Spec.Hosts) {
			for _, gateway := range placed(app.Namespace, other.Spec.Gateways) {
				if slices.Contains(mine, host) && slices.Contains(places, gateway) {
					refusals.Addf("making VirtualService %s: VirtualService %s has its host %s for gateway %s "+
						"already: set virtual-services to %s, or take the host from it", app, name, host, gateway,
						name)
				}
			}
		}
	}
	return refusals.Err()
}

// hostsOf are the hosts of a VirtualService that is made for these: the application's name is always one.
func hostsOf(app application.Application, hosts []string) []string {
	if !slices.Contains(hosts, app.Name) && !slices.Contains(hosts, "*") {
		return append(slices.Clone(hosts), app.Name)
	}
	return hosts
}

// qualified are hosts in one spelling: Services of the application's own namespace by their short name.
func qualified(app application.Application, hosts []string) []string {
	var all []string
	for _, host := range hosts {
		service, _, _ := strings.Cut(host, ".")
		if app.Host(service).Matches(host) {
			host = service
		}
		all = append(all, host)
	}
	return all
}

// placed are gateways with their namespaces.
func placed(namespace string, gateways []string) []string {
	if len(gateways) == 0 {
		return []string{allSidecars}
	}
	var all []string
	for _, gateway := range gateways {
		if gateway != allSidecars && !strings.Contains(gateway, "/") {
			gateway = namespace + "/" + gateway
		}
		all = append(all, gateway)
	}
	return all
}
