package bench

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const audited = `
{"stage":"ResponseStarted","verb":"watch","userAgent":"serin/analyze-metrics","user":{"username":"system:serviceaccount:shop:serin","extra":{"authentication.kubernetes.io/pod-name":["r1-stage-20-pod"]}}}
{"stage":"ResponseComplete","verb":"watch","userAgent":"serin/analyze-metrics","user":{"username":"system:serviceaccount:shop:serin","extra":{"authentication.kubernetes.io/pod-name":["r1-stage-20-pod"]}}}
{"stage":"ResponseComplete","verb":"get","userAgent":"serin/shift-weight","user":{"username":"system:serviceaccount:shop:serin","extra":{"authentication.kubernetes.io/pod-name":["r1-stage-20-pod"]}}}
{"stage":"ResponseComplete","verb":"patch","userAgent":"serin/shift-weight","user":{"username":"system:serviceaccount:shop:serin","extra":{"authentication.kubernetes.io/pod-name":["r1-stage-20-pod"]}}}
{"stage":"ResponseComplete","verb":"get","userAgent":"serin/acquire-lease","user":{"username":"system:serviceaccount:shop:serin","extra":{"authentication.kubernetes.io/pod-name":["r1-prepare-pod"]}}}
{"stage":"ResponseComplete","verb":"get","userAgent":"serin/acquire-lease","user":{"username":"system:serviceaccount:shop:serin","extra":{"authentication.kubernetes.io/pod-name":["r2-prepare-pod"]}}}
{"stage":"ResponseComplete","verb":"get","userAgent":"serin/acquire-lease","user":{"username":"system:serviceaccount:other:serin","extra":{"authentication.kubernetes.io/pod-name":["r1-prepare-pod"]}}}
{"stage":"ResponseComplete","verb":"patch","userAgent":"serin/shift-weight","responseStatus":{"code":409},"user":{"username":"admin"},"impersonatedUser":{"username":"system:serviceaccount:shop:serin","extra":{"authentication.kubernetes.io/pod-name":["r3-stage-40-pod"]}}}
{"stage":"ResponseComplete","verb":"watch","userAgent":"serin/analyze-metrics","responseStatus":{"code":403},"user":{"username":"admin"},"impersonatedUser":{"username":"system:serviceaccount:shop:serin","extra":{"authentication.kubernetes.io/pod-name":["r3-stage-40-pod"]}}}
{"stage":"ResponseComplete","verb":"get","userAgent":"kubelet","user":{"username":"system:node:node"}}
{"stage":"Respo`

func TestCallsAreCountedByRunAndPod(t *testing.T) {
	got, err := count(strings.NewReader(audited), "shop", "r1")
	if err != nil {
		t.Fatal(err)
	}
	want := Calls{Of: "r1", Total: 4, Tasks: map[string]int{"stage-20": 3, "prepare": 1}, Steps: []Step{
		{"prepare", "acquire-lease", 1, map[string]int{"get": 1}},
		{"stage-20", "analyze-metrics", 1, map[string]int{"watch": 1}},
		{"stage-20", "shift-weight", 2, map[string]int{"get": 1, "patch": 1}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if stage, n := got.stage(); stage != "stage-20" || n != 3 {
		t.Errorf("the stage with the most calls is %s with %d, want stage-20 with 3", stage, n)
	}
	all, err := count(strings.NewReader(audited), "shop", "")
	if err != nil || all.Total != 7 {
		t.Errorf("%d calls in the namespace, want 7: %v", all.Total, err)
	}
	refused := map[int]int{}
	if err := ReadCalls(strings.NewReader(audited), func(c Call) { refused[c.Status]++ }); err != nil ||
		refused[409] != 1 || refused[403] != 1 {
		t.Errorf("calls by status %v, want one 409 and one 403: %v", refused, err)
	}
}

func TestMissedNumbersSaySo(t *testing.T) {
	cases := map[string]struct {
		row           Row
		want, verdict string
	}{
		"below":         {Row{Got: 14.8, Want: 20, Unit: "MB"}, "≤ 20 MB", "reached"},
		"above":         {Row{Got: 20.1, Want: 20, Unit: "MB"}, "≤ 20 MB", "missed"},
		"none at all":   {Row{Got: 0}, "0", "reached"},
		"one too many":  {Row{Got: 1}, "0", "missed"},
		"for people":    {Row{Got: 90, None: true, Unit: "s"}, "–", ""},
		"as it happens": {Row{Got: 20, Want: 20}, "≤ 20", "reached"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := c.row.want(); got != c.want {
				t.Errorf("want is shown as %q, want %q", got, c.want)
			}
			if got := c.row.verdict(); got != c.verdict {
				t.Errorf("verdict %q, want %q", got, c.verdict)
			}
		})
	}
}

func TestPageHasEveryNumber(t *testing.T) {
	r := &Report{Machine: "2 processors", Rows: []Row{{Part: "Releases", What: "healthy", Got: 80.4, Want: 75,
		Unit: "s", Note: "from the push", Rival: "65 s"}}}
	var page, text strings.Builder
	if err := r.Markdown(&page); err != nil {
		t.Fatal(err)
	}
	if want := "| healthy (from the push) | ≤ 75 s | 80 s | **missed** | 65 s |"; !strings.Contains(page.String(),
		want) {
		t.Errorf("the page has no %q:\n%s", want, page.String())
	}
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if want := "  healthy  ≤ 75 s  80 s  missed  65 s"; !strings.Contains(text.String(), want) {
		t.Errorf("the table has no %q:\n%s", want, text.String())
	}
}
