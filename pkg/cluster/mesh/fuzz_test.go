package mesh_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// FuzzOperations lays routes of any shape and applies the patch: whatever there was, each route that has
// both destinations then has 100-w and w, and all the rest is as it was.
func FuzzOperations(f *testing.F) {
	f.Add("http:P100,C0", int32(20))
	f.Add("tcp:C,P;tls:P1,C99", int32(100))
	f.Add("http:X5;http:C;http:P130,C-5;http:P,X", int32(0))
	f.Add("http:;tcp:P70,C20;http:C", int32(40))
	f.Add("http:P,C100;http:P100,C", int32(40))
	f.Add("tls:C100,p;tcp:P,C100", int32(10))
	f.Fuzz(func(t *testing.T, layout string, share int32) {
		share = min(max(share, 0), 100)
		before, vs := lay(t, layout)
		splits, _, err := mesh.FindSplits(vs, app)
		if err != nil {
			return
		}
		body, err := json.Marshal(splits.Operations(parameter.Weight(share)))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := jsonpatch.DecodePatch(body)
		if err != nil {
			t.Fatal(err)
		}
		after, err := patch.Apply(before)
		if err != nil {
			t.Fatalf("applying %s to %s: %v", body, before, err)
		}
		if diff := cmp.Diff(expected(t, before, share), decoded(t, after)); diff != "" {
			t.Errorf("%d %% of %s (-want +got):\n%s", share, before, diff)
		}
	})
}

// lay reads a layout, such as http:P80,C20;tcp:X: P is the primary, C the canary, and X another host.
func lay(t *testing.T, layout string) ([]byte, *networking.VirtualService) {
	hosts := map[byte]string{'P': "podinfo-primary", 'p': "podinfo-primary.prod.svc.cluster.local",
		'C': "podinfo-canary", 'c': "podinfo-canary.prod", 'X': "other", 'Q': "podinfo-primary.dev"}
	spec := map[string][]any{}
	for text := range strings.SplitSeq(layout, ";") {
		protocol, destinations, _ := strings.Cut(text, ":")
		if !slices.Contains([]string{"http", "tcp", "tls"}, protocol) {
			return nil, &networking.VirtualService{}
		}
		route := []any{}
		for d := range strings.SplitSeq(destinations, ",") {
			if d == "" || hosts[d[0]] == "" {
				continue
			}
			member := map[string]any{"destination": map[string]any{"host": hosts[d[0]]}}
			var weight int32
			if n, _ := fmt.Sscan(d[1:], &weight); n == 1 && weight != 0 {
				member["weight"] = weight
			}
			route = append(route, member)
		}
		spec[protocol] = append(spec[protocol], map[string]any{"route": route})
	}
	text, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": "podinfo", "namespace": "prod"},
		"spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	var vs networking.VirtualService
	if err := json.Unmarshal(text, &vs); err != nil {
		t.Fatal(err)
	}
	return text, &vs
}

// expected sets the weights by another way than the patch: by walking the object.
func expected(t *testing.T, before []byte, share int32) map[string]any {
	object := decoded(t, before)
	shared := 0 // routes that do not give the canary everything
	each := func(do func(kinds string, a, b map[string]any)) {
		for _, routes := range object["spec"].(map[string]any) {
			for _, r := range routes.([]any) {
				if d := r.(map[string]any)["route"].([]any); len(d) == 2 {
					a, b := d[0].(map[string]any), d[1].(map[string]any)
					do(kinds(a)+kinds(b), a, b)
				}
			}
		}
	}
	pins := func(kinds string, a, b map[string]any) bool {
		return kinds == "PC" && a["weight"] == nil && b["weight"] == 100.0 ||
			kinds == "CP" && b["weight"] == nil && a["weight"] == 100.0
	}
	each(func(kinds string, a, b map[string]any) {
		if (kinds == "PC" || kinds == "CP") && !pins(kinds, a, b) {
			shared++
		}
	})
	each(func(kinds string, a, b map[string]any) {
		if shared > 0 && pins(kinds, a, b) {
			return
		}
		switch kinds {
		case "PC":
			a["weight"], b["weight"] = float64(100-share), float64(share)
		case "CP":
			a["weight"], b["weight"] = float64(share), float64(100-share)
		}
	})
	return object
}

func kinds(destination map[string]any) string {
	switch destination["destination"].(map[string]any)["host"] {
	case "podinfo-primary", "podinfo-primary.prod.svc.cluster.local":
		return "P"
	case "podinfo-canary", "podinfo-canary.prod":
		return "C"
	}
	return "X"
}

func decoded(t *testing.T, text []byte) (object map[string]any) {
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	return object
}
