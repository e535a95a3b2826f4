package application_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestValidate(t *testing.T) {
	const want = ", want a name of lowercase letters, digits and dashes"
	long := strings.Repeat("a", 55)
	cases := map[string]struct{ namespace, name, err string }{
		"plain":               {"prod", "podinfo", ""},
		"digits and dashes":   {"team-1", "pod-info-2", ""},
		"begins with a digit": {"prod", "2048", ""},
		"the longest":         {"prod", long, ""},
		"too long":            {"prod", long + "a", `reading app: "` + long + `a" has 56 characters, want at most 55`},
		"no name":             {"prod", "", `reading app: ""` + want},
		"capitals":            {"prod", "Podinfo", `reading app: "Podinfo"` + want},
		"a dot":               {"prod", "pod.info", `reading app: "pod.info"` + want},
		"a dash at last":      {"prod", "podinfo-", `reading app: "podinfo-"` + want},
		"no namespace":        {"", "podinfo", `reading namespace: ""` + want},
		"a path":              {"prod/other", "podinfo", `reading namespace: "prod/other"` + want},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := application.Application{Namespace: c.namespace, Name: c.name}.Validate()
			if c.err == "" {
				if err != nil {
					t.Errorf("error %v, want none", err)
				}
				return
			}
			if failure.Code(err) != failure.ExitConfig || fmt.Sprint(err) != c.err {
				t.Errorf("error %v (exit %d), want %s (exit %d)", err, failure.Code(err), c.err, failure.ExitConfig)
			}
		})
	}
}

func TestNames(t *testing.T) {
	app := application.Application{Namespace: "prod", Name: "podinfo"}
	got := []string{app.String(), app.Primary(), app.Canary(), app.Lease(), app.Report("release-7")}
	want := []string{"podinfo.prod", "podinfo-primary", "podinfo-canary", "serin-podinfo", "serin-podinfo-release-7"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestHostMatches(t *testing.T) {
	canary := application.Application{Namespace: "prod", Name: "podinfo"}.Host("podinfo-canary")
	cases := map[string]bool{
		"podinfo-canary":                        true,
		"podinfo-canary.prod":                   true,
		"podinfo-canary.prod.svc":               true,
		"podinfo-canary.prod.svc.cluster.local": true,
		"podinfo-canary.prod.svc.example.test":  true, // clusters may have another domain
		"":                                      false,
		"podinfo":                               false,
		"podinfo-canary-2":                      false,
		"my-podinfo-canary":                     false,
		"podinfo-canary.":                       false,
		"podinfo-canary.other":                  false,
		"podinfo-canary.production":             false,
		"podinfo-canary.other.svc":              false,
		"podinfo-canary.prod.svcs":              false,
		"podinfo-canary.prod.example.test":      false,
		"podinfo-canary.svc.cluster.local":      false,
	}
	for host, want := range cases {
		if got := canary.Matches(host); got != want {
			t.Errorf("%q names Service podinfo-canary of namespace prod: %v, want %v", host, got, want)
		}
	}
}

// TestMarksOfTools are never taken over: a copy that has them is pruned, published or given images by the tool.
func TestMarksOfTools(t *testing.T) {
	marks := map[string]string{}
	for _, key := range []string{"applyset.kubernetes.io/part-of", "config.k8s.io/owning-inventory",
		"kluctl.io/discriminator", "tanka.dev/environment", "qbec.io/application", "keel.sh/policy",
		"image.openshift.io/triggers", "cloud.google.com/neg", "cloud.google.com/neg-status", "tailscale.com/expose",
		"kubectl.kubernetes.io/last-applied-configuration", "argocd.argoproj.io/tracking-id"} {
		marks[key] = "x"
	}
	kept := map[string]string{"team": "web", "prometheus.io/scrape": "true", "cloud.google.com/backend-config": "{}"}
	for key, value := range kept {
		marks[key] = value
	}
	if diff := cmp.Diff(kept, application.Metadata{}.Of(marks)); diff != "" {
		t.Errorf("taken over (-want +got):\n%s", diff)
	}
}
