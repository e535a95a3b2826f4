package counting

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func vectors[T any](t testing.TB, name string) []T {
	t.Helper()
	text, err := os.ReadFile("../sequential/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	var list []T
	if err := json.Unmarshal(all[name], &list); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return list
}

var fives = regexp.MustCompile("^(?:5..)$")

func reader() Reader {
	return Reader{Selection: Selection{Destination, ByWorkload, "shop", "app", "app-primary"}, Bad: Bad(fives)}
}

// vector is an answer and what it counts.
type vector struct {
	Name    string
	Busiest float64
	Cells   int
	G       float64
	Nc      []float64 `json:"n_c"`
	Xc      []float64 `json:"x_c"`
	Np      []float64 `json:"n_p"`
	Xp      []float64 `json:"x_p"`
	Series  []struct {
		Metric model.Metric
		Values [][2]any
	}
	Warnings []string
}

func (v vector) matrix(t testing.TB) model.Matrix {
	t.Helper()
	var m model.Matrix
	for _, s := range v.Series {
		stream := &model.SampleStream{Metric: s.Metric}
		for _, pair := range s.Values {
			at := noon.Add(time.Duration(pair[0].(float64) * 1e9))
			var value model.SampleValue
			if err := value.UnmarshalJSON(fmt.Appendf(nil, "%q", pair[1])); err != nil {
				t.Fatal(err)
			}
			stream.Values = append(stream.Values, model.SamplePair{Timestamp: model.TimeFromUnixNano(at.UnixNano()),
				Value: value})
		}
		m = append(m, stream)
	}
	return m
}

func (v vector) window() Window {
	grid := time.Duration(v.G * 1e9)
	return Window{Start: noon, End: noon.Add(time.Duration(v.Cells+4) * grid), Grid: grid,
		Settle: 5 * time.Second, Busiest: v.Busiest}
}

func TestReader(t *testing.T) {
	for _, v := range vectors[vector](t, "reader") {
		t.Run(v.Name, func(t *testing.T) {
			m := v.matrix(t)
			for range 2 {
				got, err := reader().Requests(m, v.window())
				if err != nil {
					t.Fatal(err)
				}
				v.compare(t, got)
				slices.Reverse(m)
			}
		})
	}
}

func (v vector) compare(t *testing.T, got Counted) {
	t.Helper()
	var nc, xc, np, xp []float64
	for _, c := range got.Cells[:min(v.Cells, len(got.Cells))] {
		nc, xc = append(nc, c.Canary.Requests), append(xc, c.Canary.Bad)
		np, xp = append(np, c.Primary.Requests), append(xp, c.Primary.Bad)
	}
	want := [][]float64{v.Nc, v.Xc, v.Np, v.Xp}
	if diff := cmp.Diff(want, [][]float64{nc, xc, np, xp}); diff != "" {
		t.Error("cells (-want +got)\n", diff)
	}
	if len(v.Warnings)+len(got.Warnings) > 0 && !slices.Equal(v.Warnings, got.Warnings) {
		t.Errorf("warnings %v, want %v", got.Warnings, v.Warnings)
	}
}

func TestLe(t *testing.T) {
	for _, v := range vectors[struct{ In, Out string }](t, "le") {
		le, ok := bound(v.In)
		got := "error"
		if ok {
			got = spelled(le)
		}
		if got != v.Out {
			t.Errorf("le %q is read as %s, want %s", v.In, got, v.Out)
		}
	}
}

func TestQueries(t *testing.T) {
	for _, v := range vectors[struct {
		Canary, Namespace, Primary, Query, Reporter, Split string
		Seconds                                            int
		Le                                                 []float64
	}](t, "queries") {
		s := Selection{Reporter(v.Reporter), Split(v.Split), v.Namespace, v.Canary, v.Primary}
		got := s.Requests()
		if v.Le != nil {
			got = s.Durations(v.Le)
		}
		if got += fmt.Sprintf("[%ds]", v.Seconds); got != v.Query {
			t.Errorf("query\n%s, want\n%s", got, v.Query)
		}
	}
	long := Selection{Source, ByService, "shop", "a", "b"}.Durations([]float64{0.5, 1800000})
	if want := `le=~"0\\.5|1800000(\\.0+)?|1\\.8e\\+06|\\+Inf"}`; long[len(long)-len(want):] != want {
		t.Errorf("long bounds %s, want %s", long, want)
	}
}
