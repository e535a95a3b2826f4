package mesh_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

var app = application.Application{Namespace: "prod", Name: "podinfo"}

// service is a VirtualService with this spec, as the API server would send it.
func service(t testing.TB, spec string) *networking.VirtualService {
	t.Helper()
	var vs networking.VirtualService
	if err := json.Unmarshal([]byte(`{"metadata":{"name":"podinfo","namespace":"prod"},"spec":`+spec+`}`),
		&vs); err != nil {
		t.Fatal(err)
	}
	return &vs
}

const (
	canary = `{"destination":{"host":"podinfo-canary"}}` // as Istio writes weight 0
	all    = `{"destination":{"host":"podinfo-primary"},"weight":100}`
)

func to(host string) string { return `{"destination":{"host":"` + host + `"},"weight":50}` }

func TestFindTakesEveryRouteWithBoth(t *testing.T) {
	weights := func(route string, first, second any) []kube.Operation {
		return []kube.Operation{
			kube.Test(route+"/0/destination/host", "podinfo-primary"), kube.Add(route+"/0/weight", first),
			kube.Test(route+"/1/destination/host", "podinfo-canary"), kube.Add(route+"/1/weight", second),
		}
	}
	cases := map[string]struct {
		spec  string
		share parameter.Weight
		want  []kube.Operation // for 20 %
	}{
		"http": {`{"http":[{"route":[` + all + `,` + canary + `]}]}`, 0,
			weights("/spec/http/0/route", int32(80), int32(20))},
		"tcp": {`{"tcp":[{"route":[` + all + `,` + canary + `]}]}`, 0,
			weights("/spec/tcp/0/route", int32(80), int32(20))},
		"tls": {`{"tls":[{"match":[{"sniHosts":["a"]}],"route":[` + all + `,` + canary + `]}]}`, 0,
			weights("/spec/tls/0/route", int32(80), int32(20))},
		"canary first": {
			`{"http":[{"route":[{"destination":{"host":"podinfo-canary"},"weight":30},{"destination":{"host":"podinfo-primary"},"weight":70}]}]}`,
			30,
			[]kube.Operation{
				kube.Test("/spec/http/0/route/1/destination/host", "podinfo-primary"),
				kube.Add("/spec/http/0/route/1/weight", int32(80)),
				kube.Test("/spec/http/0/route/0/destination/host", "podinfo-canary"),
				kube.Add("/spec/http/0/route/0/weight", int32(20)),
			},
		},
		"behind others": {`{"http":[{"redirect":{"uri":"/"}},{"route":[` + to("docs") + `]},{"route":[` + canary +
			`]},{"route":[` + all + `,` + canary + `]}]}`,
			0, weights("/spec/http/3/route", int32(80), int32(20))},
		"two": {`{"http":[{"route":[` + all + `,` + canary + `]}],"tcp":[{"route":[` + all + `,` + canary + `]}]}`, 0,
			append(weights("/spec/http/0/route", int32(80), int32(20)),
				weights("/spec/tcp/0/route", int32(80), int32(20))...)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			splits, _, err := mesh.FindSplits(service(t, c.spec), app)
			if err != nil {
				t.Fatal(err)
			}
			if got := splits.Weight(); got != c.share {
				t.Errorf("share %d, want %d", got, c.share)
			}
			if diff := cmp.Diff(c.want, splits.Operations(20)); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
			given := service(t, c.spec)
			splits, _, err = mesh.FindSplits(given, app)
			if err != nil {
				t.Fatal(err)
			}
			splits.Give(20)
			splits, _, err = mesh.FindSplits(given, app)
			if got := splits.Weight(); err != nil || splits.Check() != nil || got != 20 {
				t.Errorf("given 20 %%: share %d (%v, %v)", got, err, splits.Check())
			}
		})
	}
}

func TestFindKnowsHosts(t *testing.T) {
	cases := map[string]bool{
		"podinfo-primary":                         true,
		"podinfo-primary.prod":                    true,
		"podinfo-primary.prod.svc":                true,
		"podinfo-primary.prod.svc.cluster.local":  true,
		"podinfo-primary.prod.svc.example.org":    true,
		"podinfo-primary.dev":                     false,
		"podinfo-primary.dev.svc.cluster.local":   false,
		"podinfo-primary.production":              false,
		"podinfo-primary.prod.example.org":        false,
		"podinfo-primary.svc":                     false,
		"podinfo-primary2":                        false,
		"podinfo":                                 false,
		"Podinfo-primary":                         false,
		"a-podinfo-primary":                       false,
		"podinfo-primary.prod.svcs.cluster.local": false,
	}
	for host, want := range cases {
		t.Run(host, func(t *testing.T) {
			splits, _, err := mesh.FindSplits(service(t, `{"http":[{"route":[`+to(host)+`,`+canary+`]}]}`), app)
			if got := err == nil && len(splits) == 1; got != want {
				t.Errorf("found: %v, want %v (%v)", got, want, err)
			}
			if want {
				if got := splits.Operations(0)[0].Value; got != host {
					t.Errorf("tests for host %v, want it as written: %s", got, host)
				}
			}
		})
	}
}

func TestFindRefuses(t *testing.T) {
	cases := map[string]struct {
		spec string
		want []string
	}{
		"no routes": {`{"hosts":["podinfo"]}`,
			[]string{"VirtualService podinfo", "found: none", "host: podinfo-primary}\n      weight: 100",
				"host: podinfo-canary}\n      weight: 0"}},
		"application and another": {`{"http":[{"route":[` + to("podinfo") + `,` + to("docs") + `]}]}`,
			[]string{"no route has both podinfo-primary and podinfo-canary", "found: podinfo, docs)",
				"- route:\n    - destination: {host: podinfo-primary}"}},
		"subset": {`{"http":[{"route":[{"destination":{"host":"podinfo","subset":"v1"}}]}]}`,
			[]string{"/spec/http/0/route goes to subset v1 of podinfo, want the whole Service"}},
		"delegate": {`{"http":[{"match":[{"uri":{"prefix":"/"}}],"delegate":{"name":"routes","namespace":"prod"}}]}`,
			[]string{"http/0 is delegated to VirtualService prod/routes: set virtual-services to routes"}},
		"primary only": {`{"http":[{"route":[{"destination":{"host":"podinfo-primary"}}]}]}`,
			[]string{"found: podinfo-primary)"}},
		"on two routes": {`{"http":[{"route":[` + all + `]},{"route":[` + canary + `]}]}`,
			[]string{"found: podinfo-primary, podinfo-canary)"}},
		"another namespace": {`{"http":[{"route":[` + to("podinfo-primary.dev") + `,` + canary + `]}]}`,
			[]string{"found: podinfo-primary.dev, podinfo-canary)"}},
		"third destination": {`{"http":[{"route":[` + all + `,` + canary + `,` + to("beta") + `]}]}`,
			[]string{"/spec/http/0/route has 3 destinations (podinfo-primary, podinfo-canary, beta), want two: " +
				"podinfo-primary and podinfo-canary"}},
		"primary twice": {`{"tcp":[{"route":[` + all + `,` + to("podinfo-primary.prod") + `,` + canary + `]}]}`,
			[]string{"/spec/tcp/0/route has 3 destinations"}},
		"third beside a good route": {`{"http":[{"route":[` + all + `,` + canary + `]},{"route":[` + all + `,` +
			canary + `,` + to("beta") + `]}]}`,
			[]string{"/spec/http/1/route has 3 destinations"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, _, err := mesh.FindSplits(service(t, c.spec), app)
			if !errors.Is(err, failure.ErrConfig) {
				t.Fatalf("error %v, want one of kind %v", err, failure.ErrConfig)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
		})
	}
}

// TestFindSelects has the routes that a run shifts, and those that it leaves.
func TestFindSelects(t *testing.T) {
	const (
		both   = `"route":[` + all + `,` + canary + `]`
		pinned = `"route":[{"destination":{"host":"podinfo-primary"}},{"destination":{"host":"podinfo-canary"},"weight":100}]`
		app    = `"route":[{"destination":{"host":"podinfo.prod.svc.cluster.local","port":{"number":9898}}}]`
	)
	for name, c := range map[string]struct {
		spec          string
		names         []string
		shifted, left string
		fails         string
	}{
		"a pinned canary":     {`{"http":[{"name":"beta",` + pinned + `},{` + both + `}]}`, nil, "http/1", "beta", ""},
		"pinned is all":       {`{"http":[{` + pinned + `}],"tcp":[{` + pinned + `}]}`, nil, "http/0, tcp/0", "none", ""},
		"pinned by name":      {`{"http":[{"name":"beta",` + pinned + `},{` + both + `}]}`, []string{"beta"}, "beta", "http/1", ""},
		"by kind and index":   {`{"http":[{` + both + `}],"tls":[{` + both + `}]}`, []string{"tls/0"}, "tls/0", "http/0", ""},
		"the application's":   {`{"http":[{"name":"a",` + app + `},{"name":"docs","route":[` + to("docs") + `]}]}`, nil, "a", "none", ""},
		"beside a shared one": {`{"http":[{"name":"a",` + app + `},{"name":"b",` + both + `}]}`, nil, "b", "none", ""},
		"both by name":        {`{"http":[{"name":"a",` + app + `},{"name":"b",` + both + `}]}`, []string{"a", "b"}, "a, b", "none", ""},
		"third destination elsewhere": {`{"http":[{"name":"a",` + both + `},{"name":"x","route":[` + all + `,` + canary + `,` + to("beta") +
			`]}]}`, []string{"a"}, "a", "none", ""},
		"no such name": {`{"http":[{"name":"a",` + both + `}]}`, []string{"b", "c"}, "", "",
			"none of the routes b, c has both podinfo-primary and podinfo-canary, or podinfo alone"},
		"a name of another's route": {`{"http":[{"name":"a",` + both + `},{"name":"docs","route":[` + to("docs") + `]}]}`,
			[]string{"docs"}, "", "", "found: podinfo-primary, podinfo-canary, docs"},
	} {
		t.Run(name, func(t *testing.T) {
			shifted, left, err := mesh.FindSplits(
				service(t, c.spec),
				application.Application{Namespace: "prod", Name: "podinfo"},
				c.names...)
			if c.fails != "" {
				if !errors.Is(err, mesh.ErrNoSplit) || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("error %v, want %q in it", err, c.fails)
				}
				return
			}
			if err != nil || shifted.String() != c.shifted || left.String() != c.left {
				t.Errorf("shifts %s, leaves %s (%v), want %s and %s", shifted, left, err, c.shifted, c.left)
			}
			if shifted.Check() != nil {
				t.Error(shifted.Check())
			}
		})
	}
}

// TestTakeOver adds the canary to a route of the application's own, and keeps all else.
func TestTakeOver(t *testing.T) {
	const before = `{"metadata":{"name":"podinfo"},"spec":{"http":[{"name":"docs","route":[{"destination":{"host":"docs"}}]},
		{"timeout":"3s","route":[{"destination":{"host":"podinfo.prod","port":{"number":9898}},"headers":{"request":{"set":{"a":"b"}}}}]}]}}`
	var vs networking.VirtualService
	if err := json.Unmarshal([]byte(before), &vs); err != nil {
		t.Fatal(err)
	}
	splits, _, err := mesh.FindSplits(&vs, app)
	if err != nil || !splits.Whole() || splits.Weight() != 0 || len(splits.Operations(0)) != 0 {
		t.Fatalf("%v (%v), want one that goes to the Service itself", splits, err)
	}
	body, err := json.Marshal(splits.TakeOver(app))
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		t.Fatal(err)
	}
	after, err := patch.Apply([]byte(before))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(
		before,
		`[{"destination":{"host":"podinfo.prod","port":{"number":9898}},"headers":{"request":{"set":{"a":"b"}}}}]`,
		`[{"weight":100,"destination":{"host":"podinfo-primary.prod","port":{"number":9898}},"headers":{"request":{"set":{"a":"b"}}}},
		{"weight":0,"destination":{"host":"podinfo-canary.prod","port":{"number":9898}},"headers":{"request":{"set":{"a":"b"}}}}]`,
	)
	if diff := cmp.Diff(decoded(t, []byte(want)), decoded(t, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var taken networking.VirtualService
	if err := json.Unmarshal(after, &taken); err != nil {
		t.Fatal(err)
	}
	if splits, _, err := mesh.FindSplits(&taken, app); err != nil || splits.Whole() || splits.String() != "http/1" {
		t.Errorf("%v (%v) afterwards, want http/1 shared", splits, err)
	}
}

func TestCheckWeights(t *testing.T) {
	two := func(primary, canary string) string {
		return `{"route":[{"destination":{"host":"podinfo-primary"}` + primary +
			`},{"destination":{"host":"podinfo-canary"}` + canary + `}]}`
	}
	cases := map[string]struct {
		routes string
		share  parameter.Weight
		want   string
	}{
		"all to the primary": {two(`,"weight":100`, ``), 0, ""},
		"shared":             {two(`,"weight":60`, `,"weight":40`), 40, ""},
		"all to the canary":  {two(``, `,"weight":100`), 100, ""},
		"beyond": {two(`,"weight":-30`, `,"weight":130`), 130,
			"weights -30 (primary) and 130 (canary), want 0 to 100 with sum 100"},
		"beyond, turned": {two(`,"weight":130`, `,"weight":-5`), 0, "weights 130 (primary) and -5 (canary)"},
		"sum below":      {two(`,"weight":70`, `,"weight":20`), 20, "weights 70 (primary) and 20 (canary)"},
		"none":           {two(``, ``), 0, "weights 0 (primary) and 0 (canary)"},
		"different": {two(`,"weight":80`, `,"weight":20`) + "," + two(`,"weight":60`, `,"weight":40`), 40,
			"/spec/http/0/route gives the canary 20 %, /spec/http/1/route 40 %, want the same in each route"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			splits, _, err := mesh.FindSplits(service(t, `{"http":[`+c.routes+`]}`), app)
			if err != nil {
				t.Fatal(err)
			}
			if got := splits.Weight(); got != c.share {
				t.Errorf("share %d, want %d", got, c.share)
			}
			err = splits.Check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
			if err != nil && failure.Code(err) != failure.ExitConfig {
				t.Errorf("exit code %d, want %d", failure.Code(err), failure.ExitConfig)
			}
		})
	}
}
