package simulation

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

// TestRows plays the rows that hardly depend on chance.
func TestRows(t *testing.T) {
	played := 0
	for _, table := range specified() {
		for i, r := range table.rows {
			if !r.sure {
				continue
			}
			played++
			m, err := measure(t.Context(), r.world, 30, uint64(i), (*life).judged)
			if err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
			for _, text := range r.want.misses(m) {
				t.Errorf("%s: %s (%s)", r.name, text, m.why())
			}
		}
	}
	if played < 20 {
		t.Errorf("%d rows were played", played)
	}
}

func TestRunsAreRepeated(t *testing.T) {
	w := asShipped(5, 1, 1, near).with(pods(2), func(w *World) { w.scrapes.replicas, w.scrapes.lost = 2, 0.1 })
	for name, play := range map[string]player{"judge": (*life).judged, "Flagger": (*life).flagger,
		"Kayenta": (*life).kayenta, "Argo Rollouts": (*life).argo} {
		first, err := measure(t.Context(), w, 4, 7, play)
		if err != nil {
			t.Fatal(err)
		}
		second, err := measure(t.Context(), w, 4, 7, play)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(first, second) {
			t.Errorf("%s: %v, then %v", name, first, second)
		}
	}
}

func TestOtherRules(t *testing.T) {
	cases := map[string]struct {
		world                  World
		flagger, kayenta, argo outcome
	}{
		"healthy":     {world(50, 0.001, 0.001), promoted, promoted, promoted},
		"2 % fail":    {world(500, 0.02, 0.001), rolledBack, rolledBack, promoted},
		"20 % fail":   {world(50, 0.2, 0.001), rolledBack, rolledBack, rolledBack},
		"both fail":   {world(500, 0.2, 0.2), rolledBack, promoted, rolledBack},
		"no requests": {world(0, 0, 0), rolledBack, rolledBack, rolledBack},
		"slow": {asShipped(500, 0, 0, far).with(slower(10, far, [arms][]float64{istio, istio})), rolledBack, rolledBack,
			promoted},
	}
	for name, c := range cases {
		for rule, of := range map[string]struct {
			play player
			want outcome
		}{"Flagger": {(*life).flagger, c.flagger}, "Kayenta": {(*life).kayenta, c.kayenta},
			"Argo Rollouts": {(*life).argo, c.argo}} {
			m, err := measure(t.Context(), c.world, 20, 1, of.play)
			if err != nil {
				t.Fatal(err)
			}
			if m.count[of.want] < 18 {
				t.Errorf("%s, %s: %v, want outcome %d", name, rule, m.count, of.want)
			}
		}
	}
}

// TestMost compares with tables of Clopper's and Pearson's bounds.
func TestMost(t *testing.T) {
	for _, c := range []struct {
		k, n int
		want float64
	}{{0, 100, 2.9513}, {0, 2000, 0.1497}, {4, 2000, 0.4572}, {5, 10, 77.7559}, {10, 10, 100}} {
		m := measured{runs: c.n}
		m.count[rolledBack] = c.k
		if got := m.most(rolledBack); math.Abs(got-c.want) > 0.0005 {
			t.Errorf("%d of %d: at most %v %%, want %v %%", c.k, c.n, got, c.want)
		}
	}
}

func TestMisses(t *testing.T) {
	m := measured{runs: 2000, count: [outcomes]int{1800, 60, 140}, shares: [outcomes]float64{90, 3, 7},
		second: [outcomes]float64{200, 130, 0}, first: 15, failed: 20, reasons: map[string]int{"suspect": 140}}
	w := world(50, 0.001, 0.001)
	cases := map[string]struct {
		want  wanted
		texts []string
	}{
		"figures of a healthy one": {figures{promoted: 100, second: 120, notBefore: 20}.of(healthy, w), []string{
			"taken back 3.00 %, want at most 0.50 %", "promoted 90.00 %, want at least 99.50 %",
			"whatever the noise 3.00 %, want at most 1.00 %", "median 200 s, want at most 180 s",
			"promoted after 15 s"}},
		"figures of a bad one": {share(100, 0, 0, 105, 12).of(bad, w), []string{
			"taken back 3.00 %, want at least 99.50 %", "promoted 90.00 %, want at most 0.50 %",
			"median 130 s, want at most 125 s", "median of 20 failed requests"}},
		"figures of neither": {figures{inconclusive: 100, reason: "low-traffic"}.of(neither, w), []string{
			"taken back 3.00 %", "promoted 90.00 %", "want low-traffic in nine of ten"}},
		"shares": {all(takenBack(0.2), boundedBy(0.5), promotedAtLeast(95), promotedAtMost(0)), []string{
			"taken back 3.00 %, want at most 0.20 %", "upper 95 % bound of those taken back 3.", "at least 95.00 %",
			"at most 0.00 %"}},
		"caught": {all(caught(99), within(125)), []string{"taken back 3.00 %, want at least 99.00 %",
			"median 130 s, want at most 125 s"}},
		"kept": {all(takenBack(3), promotedAtLeast(90), caught(3), within(130)), nil},
	}
	for name, c := range cases {
		got := c.want.misses(m)
		for i, text := range got {
			if len(got) != len(c.texts) || !strings.Contains(text, c.texts[i]) {
				t.Errorf("%s: %q, want %q", name, got, c.texts)
				break
			}
		}
		if len(got) != len(c.texts) {
			t.Errorf("%s: %q, want %q", name, got, c.texts)
		}
	}
}

func TestPage(t *testing.T) {
	r := row{name: "5 %", bad: true, world: world(50, 0.05, 0.001), want: all(caught(99), promotedAtLeast(1))}
	line, missed, err := r.play(t.Context(), 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	bars := strings.Count(columns, "|") / 2
	if !strings.HasPrefix(line, "| 5 % | 100 / 0 · 360 · ") || strings.Count(line, "|") != bars ||
		!strings.Contains(line, "| caught ≥ 99 %, promoted ≥ 1 % | 100 / 0 · ") ||
		!strings.HasSuffix(line, "| **no** |") {
		t.Errorf("line %q", line)
	}
	want := "5 %: promoted 0.00 %, want at least 1.00 % (taken back map["
	if len(missed) != 1 || !strings.HasPrefix(missed[0], want) {
		t.Errorf("missed %q", missed)
	}
}
