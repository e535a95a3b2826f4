package mesh

import (
	"slices"
	"strconv"
	"strings"

	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// GiveBack is the patch that leads each route with primary and canary to the application's own Service again, as its
// only destination: TakeOver the other way round. It has what the primary's has, such as a port.
func (splits Splits) GiveBack(app application.Application) []kube.Operation {
	var ops []kube.Operation
	for _, s := range splits.withBoth() {
		first := s.route.path + "/" + strconv.Itoa(s.primary.index)
		second := s.route.path + "/" + strconv.Itoa(s.canary.index)
		suffix := strings.TrimPrefix(s.primary.host, app.Primary())
		ops = append(ops, kube.Test(first+"/destination/host", s.primary.host),
			kube.Test(second+"/destination/host", s.canary.host),
			kube.Replace(first+"/destination/host", app.Name+suffix), kube.Add(first+"/weight", 100),
			kube.Operation{Op: "remove", Path: second})
	}
	return ops
}

// Astray are the routes of a VirtualService that lead to the primary or the canary and are none of these, by their
// titles: nobody would answer there without the two.
func Astray(vs *networking.VirtualService, app application.Application, but Splits) []string {
	var titles []string
	for _, r := range routes(&vs.Spec) {
		leads := slices.ContainsFunc(r.hosts(), func(host string) bool {
			return app.Host(app.Primary()).Matches(host) || app.Host(app.Canary()).Matches(host)
		})
		known := slices.ContainsFunc(but, func(s Split) bool { return s.route.path == r.path })
		if leads && !known {
			titles = append(titles, r.title())
		}
	}
	return titles
}
