// Package application names the objects that make up one application.
package application

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// Annotations and labels that Serin writes.
const (
	RunAnnotation      = "serin.dev/run"      // on the VirtualService the record, on a Deployment the stamp
	RevisionAnnotation = "serin.dev/revision" // on the primary: the revision that it runs
	PreviousAnnotation = "serin.dev/previous" // on the primary: the revision that the run of the stamp promoted it from
	PortsAnnotation    = "serin.dev/ports"    // on the apex Service: a digest of the ports that Serin's Services have
	Label              = "serin.dev/app"      // on all that Serin makes: the application's name

	// TemplateAnnotation is on the primary: the pod template of the revision in PreviousAnnotation.
	TemplateAnnotation = "serin.dev/previous-template"

	// KeepAnnotation is on the target: until when, in RFC 3339, its pods stay up though its run has failed.
	KeepAnnotation = "serin.dev/keep-until"

	AutoscalerAnnotation = "serin.dev/autoscaler"        // on the target: KIND/NAME of its autoscaler
	BudgetAnnotation     = "serin.dev/disruption-budget" // on the target: name of its PodDisruptionBudget
)

// maxName leaves room for the longest suffix, -primary, within the 63 bytes of a Service's name.
const maxName = 63 - len("-primary")

// Application is one application: the target Deployment's name, in its namespace.
type Application struct {
	Namespace string
	Name      string
}

// Validate refuses names that cannot be those of a Service with a suffix.
func (a Application) Validate() error {
	for what, name := range map[string]string{"namespace": a.Namespace, "app": a.Name} {
		if problems := validation.IsDNS1035Label(name); len(problems) > 0 && len(validation.IsDNS1123Label(name)) > 0 {
			return failure.Configf("reading %s: %q, want a name of lowercase letters, digits and dashes", what, name)
		}
	}
	if len(a.Name) > maxName {
		return failure.Configf("reading app: %q has %d characters, want at most %d", a.Name, len(a.Name), maxName)
	}
	return nil
}

// String is name.namespace, as events write it.
func (a Application) String() string { return a.Name + "." + a.Namespace }

// Primary is the Deployment and the Service that serve everyone.
func (a Application) Primary() string { return a.Name + "-primary" }

// Canary is the Service of the target's pods.
func (a Application) Canary() string { return a.Name + "-canary" }

// Lease is the Lease that one run holds.
func (a Application) Lease() string { return "serin-" + a.Name }

// Report is the ConfigMap that keeps a run's report.
func (a Application) Report(run string) string { return fmt.Sprintf("serin-%s-%s", a.Name, run) }

// Host is a Service of the application's namespace as destinations in Istio's objects name it.
type Host struct{ Service, Namespace string }

// Matches says whether host names the Service: short, with the namespace, with .svc, or fully qualified.
func (h Host) Matches(host string) bool {
	rest, ok := strings.CutPrefix(host, h.Service)
	if !ok {
		return false
	}
	rest, ok = strings.CutPrefix(rest, "."+h.Namespace)
	return rest == "" || ok && (rest == ".svc" || strings.HasPrefix(rest, ".svc."))
}

// Host is one of the application's Services as a destination.
func (a Application) Host(service string) Host { return Host{service, a.Namespace} }
