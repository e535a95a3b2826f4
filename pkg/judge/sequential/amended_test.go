package sequential

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	cases := map[string]struct {
		canary, primary   Counts
		exceeded, suspect bool
	}{
		"one error of sixty":       {Counts{60, 1}, Counts{240, 1}, false, true},
		"none":                     {Counts{60, 0}, Counts{240, 1}, false, false},
		"both beyond":              {Counts{3000, 150}, Counts{12000, 600}, false, false},
		"beyond doubt":             {Counts{600, 30}, Counts{2400, 0}, true, true},
		"the primary may be, too":  {Counts{600, 30}, Counts{100, 0}, false, true},
		"nobody calls the primary": {Counts{600, 30}, Counts{}, false, true},
		"nobody calls the canary":  {Counts{}, Counts{2400, 0}, false, false},
	}
	for name, c := range cases {
		l := Limited{Most: 0.01, Seen: Pair{c.canary, c.primary}, Alpha: 0.01 / 4}
		if l.exceeded() != c.exceeded || l.Suspect() != c.suspect {
			low, high := l.Ends()
			t.Errorf("%s: exceeded %v, suspect %v, want %v and %v (canary at least %v, primary at most %v)", name,
				l.exceeded(), l.Suspect(), c.exceeded, c.suspect, low, high)
		}
	}
}

// TestLimitIsConfirmed has outages of both arms of which the canary's counters tell one cell earlier, and then a canary
// that is worse.
func TestLimitIsConfirmed(t *testing.T) {
	good, bad := Counts{300, 0}, Counts{300, 100}
	e := Evidence{Grid: 15 * time.Second, Stages: []Stage{{0, 0.5}}, History: Counts{30000, 30},
		Basis: Basis{Rule: errorsRule, Design: 1, Clumps: 1, Alpha: 0.01, Most: 0.01}}
	for k, p := range []Pair{{good, good}, {good, good}, {bad, good}, {good, bad}, {good, good}, {bad, good}} {
		e.Cells, e.Until = append(e.Cells, Cell{p, e.Grid, 0}), time.Duration(k+1)*e.Grid
		found := Weigh(e, Rules{})
		if found.Broken {
			t.Errorf("after cell %d the limit is broken: %+v", k, found.Limits)
		}
	}
	for range 5 {
		e.Cells, e.Until = append(e.Cells, Cell{Pair{bad, good}, e.Grid, 0}), e.Until+e.Grid
	}
	e.Cells = e.Cells[4:]
	if found := Weigh(e, Rules{}); !found.Broken {
		t.Errorf("limits %+v, want the one of errors broken", found.Limits)
	}
}

// TestColdAfterEachRaise has a canary that is slow for 20 s after each raise of its weight.
func TestColdAfterEachRaise(t *testing.T) {
	e := Evidence{Grid: 15 * time.Second, Until: 6 * time.Minute, Basis: Basis{Rule: errorsRule, Design: 1, Clumps: 1,
		WarmUp: time.Minute, Warm: time.Minute, Alpha: 0.01}, History: Counts{30000, 30},
		Bounds: []Bound{{100, Counts{30000, 300}}}, Longest: 100}
	for _, at := range []float64{0, 118, 241} {
		e.Stages = append(e.Stages, Stage{seconds(at), 0.4})
	}
	e.Slow = make([][]Pair, 1)
	for k := range int(e.Until / e.Grid) {
		e.Cells = append(e.Cells, Cell{Pair{Counts{300, 0}, Counts{450, 0}}, e.Grid, 0})
		slow := Pair{Counts{300, 3}, Counts{450, 4}}
		for _, s := range e.Stages {
			end := time.Duration(k+1) * e.Grid
			if cold := min(end, s.At+20*time.Second) - max(end-e.Grid, s.At); cold > 0 {
				slow.Canary.Bad += 250 * cold.Seconds() / e.Grid.Seconds()
			}
		}
		e.Slow[0] = append(e.Slow[0], slow)
	}
	e.TooSlow = e.Slow[0]
	found := Weigh(e, Rules{})
	if found.Latency.BlameMax > 10 || found.Broken {
		t.Errorf("blame of latency %v, limits %+v: want neither", found.Latency.BlameMax, found.Limits)
	}
	e.WarmUp = 0
	if found = Weigh(e, Rules{}); found.Latency.BlameMax < 100 {
		t.Errorf("blame of latency %v, limits %+v without warm-up: want blame", found.Latency.BlameMax, found.Limits)
	}
}

// TestColdCellsConfirmNothing has a limit of durations that is exceeded for the first time when a weight is raised.
func TestColdCellsConfirmNothing(t *testing.T) {
	e := Evidence{Grid: 15 * time.Second, Basis: Basis{Rule: errorsRule, Design: 1, Clumps: 1, WarmUp: time.Minute,
		Alpha: 0.01}, History: Counts{30000, 30}, Stages: []Stage{{0, 0.5}}, Longest: 100}
	grow := func(slow float64) Limited {
		e.Cells = append(e.Cells, Cell{Pair{Counts{100, 0}, Counts{300, 0}}, e.Grid, 0})
		e.TooSlow, e.Until = append(e.TooSlow, Pair{Counts{100, slow}, Counts{300, 0}}), e.Until+e.Grid
		return Weigh(e, Rules{}).Limits[0]
	}
	for n := 0; grow(4).Cells == 0; n++ {
		if n > 20 {
			t.Fatalf("%+v, want a limit that is exceeded", Weigh(e, Rules{}).Limits)
		}
	}
	e.Stages = append(e.Stages, Stage{e.Until, 0.6})
	if l := grow(100); l.Cells != 1 || l.Broken() {
		t.Errorf("after a cold cell: %+v, want one that is not confirmed", l)
	}
	grow(4)
	if l := grow(4); !l.Broken() {
		t.Errorf("after a warm cell: %+v, want a broken one", l)
	}
}

// TestWeigherRemembers weighs as evidence grows, and anew.
func TestWeigherRemembers(t *testing.T) {
	e := random(rand.New(rand.NewPCG(7, 7)))
	var w Weigher
	for n := range e.Cells {
		grown := e
		grown.Cells, grown.Until = e.Cells[:n], time.Duration(n)*e.Grid
		grown.Early = &e.Cells[n]
		if got, want := w.Weigh(grown, Rules{}), Weigh(grown, Rules{}); got.BlameMax != want.BlameMax ||
			got.Acquit != want.Acquit || *got.Latency != *want.Latency || len(got.Moments) != n {
			t.Fatalf("after %d cells %+v, want %+v", n, got.Standing, want.Standing)
		}
	}
}

// TestEarlyCellConvicts has two cells that are not enough alone, of which the second is still open.
func TestEarlyCellConvicts(t *testing.T) {
	bad := Cell{Pair{Counts{150, 50}, Counts{600, 0}}, 5 * time.Second, 0}
	e := Evidence{Stages: []Stage{{0, 0.2}}, Grid: 5 * time.Second, Until: 7 * time.Second, Basis: basis,
		History: Counts{30000, 30}, Cells: []Cell{bad}, Early: &bad}
	rules := Rules{Gate: Prove, Deadline: time.Hour, Alpha: 0.01, Beta: 0.05}
	if d, reason := rules.Decide(Weigh(e, rules).Standing); d != Fail || reason != Worse {
		t.Errorf("%s because of %q, want fail because it is worse", d, reason)
	}
	good := Cell{Pair{Counts{150, 0}, Counts{600, 0}}, 5 * time.Second, 0}
	e.Cells, e.Early = []Cell{good, good, good, good, good, good}, &good
	e.Until = time.Minute
	if f := Weigh(e, rules); len(f.Moments) != 6 {
		t.Errorf("%d cells are weighed for a canary that is not convicted, want the 6 that are closed", len(f.Moments))
	}
}

func TestSilent(t *testing.T) {
	e := Evidence{Stages: []Stage{{0, 0.4}}, Grid: 15 * time.Second, Basis: basis, History: Counts{30000, 30},
		Until: 95 * time.Second}
	instants := func(canaryUntil time.Duration, each float64) (all []Instant) {
		for at := 5 * time.Second; at <= e.Until; at += 5 * time.Second {
			i := Instant{At: at, Sampled: true, Pair: Pair{Primary: Counts{each, 0}}}
			if at <= canaryUntil {
				i.Canary.Requests = each
			}
			all = append(all, i)
		}
		return all
	}
	for name, c := range map[string]struct {
		instants []Instant
		together bool
		silent   bool
	}{
		"deleted":                 {instants(30*time.Second, 50), false, true},
		"a minute is not over":    {instants(40*time.Second, 50), false, false},
		"it is called":            {instants(time.Hour, 50), false, false},
		"few requests":            {instants(30*time.Second, 1), false, false},
		"the caller would see it": {instants(30*time.Second, 50), true, false},
	} {
		e.Instants, e.Together = c.instants, c.together
		if got := Weigh(e, Rules{}).Silent; got != c.silent {
			t.Errorf("%s: silent %v, want %v", name, got, c.silent)
		}
	}
}

// TestSilenceOfPrometheus has a Prometheus that knows nothing of some time, of either arm.
func TestSilenceOfPrometheus(t *testing.T) {
	e := Evidence{Stages: []Stage{{0, 0.4}}, Grid: 15 * time.Second, Basis: basis, History: Counts{30000, 30}}
	for name, c := range map[string]struct {
		until, down, up, deleted float64 // seconds
		silent                   bool
	}{
		"it is behind":            {100, 42, 1000, 1000, false},
		"it is back":              {102, 38, 98, 1000, false},
		"it is back for a scrape": {113, 38, 98, 1000, false},
		"a pod was deleted":       {165, 38, 98, 98, true},
		"not for a minute":        {150, 38, 98, 98, false},
		"a scrape is lost":        {100, 60, 80, 30, true},
	} {
		e.Until, e.Instants = seconds(c.until), nil
		for at := 5.0; at <= c.until; at += 5 {
			if at > c.down && at < c.up {
				continue
			}
			i := Instant{At: seconds(at)}
			switch {
			case int(at)%15 == 10: // later than the primary
				i.Primary.Requests = 500
			case int(at)%15 == 0 && at < c.deleted:
				i.Canary.Requests, i.Sampled = 300, true
			}
			e.Instants = append(e.Instants, i)
		}
		if got := Weigh(e, Rules{}).Silent; got != c.silent {
			t.Errorf("%s: silent %v, want %v", name, got, c.silent)
		}
	}
}

func TestDispersion(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	intervals := func(size, perInterval float64) (all []Counts) {
		for range 40 {
			bad := 0.0
			for range 200 {
				if r.Float64() < perInterval/200 {
					bad += size
				}
			}
			all = append(all, Counts{1500, bad})
		}
		return all
	}
	for _, c := range []struct{ size, perInterval, low, high float64 }{
		{1, 15, 1, 1.3}, {1, 0.05, 1, 2}, {20, 0.5, 8, 32}, {100, 2, 45, 50},
	} {
		if got := Dispersion(intervals(c.size, c.perInterval)); got < c.low || got > c.high {
			t.Errorf("errors in clumps of %v, %v an interval: %v, want %v to %v", c.size, c.perInterval, got, c.low,
				c.high)
		}
	}
	if got := Dispersion([]Counts{{100, 0}, {100, 0}, {100, 0}}); got != 1 {
		t.Errorf("no errors: %v, want 1", got)
	}
}

// TestMissingInClumps needs as many more requests as errors come at once.
func TestMissingInClumps(t *testing.T) {
	single := newMetric(errorsRule, Counts{30000, 30}, 1).Missing(0.2, 0.05)
	if got := newMetric(errorsRule, Counts{30000, 30}, 10).Missing(0.2, 0.05); got != 10*single {
		t.Errorf("%v requests are missing where errors come in tens, %v else", got, single)
	}
}

func TestForecastProof(t *testing.T) {
	b := Basis{Rule: errorsRule, Design: 1, Clumps: 1}
	// 397 requests of the canary rule out 1 percentage point at 20 % where both fail 0.1 %, from a pot of 1
	got := ForecastProof(b, Counts{3000, 3}, nil, 600*time.Second, 0.2, 0.05).Takes
	if got < 397*time.Second || got > 600*time.Second {
		t.Errorf("proof at 1 canary request a second takes %s, want a little more than 397 s", got)
	}
	b.Clumps = 10
	slow := []Bound{{100, Counts{3000, 300}}}
	one := ForecastProof(Basis{Rule: errorsRule, Design: 1, Clumps: 1}, Counts{3000, 3}, slow, 600*time.Second, 0.2,
		0.05)
	if got := ForecastProof(b, Counts{3000, 3}, slow, 600*time.Second, 0.2, 0.05).Takes; got < 2*one.Takes {
		t.Errorf("of requests that are slow in clumps of 10: %s, want far more than the %s of single ones", got,
			one.Takes)
	}
	if got := ForecastProof(b, Counts{}, nil, 600*time.Second, 0.2, 0.05).Takes; got != 0 {
		t.Errorf("without history: %s, want nothing", got)
	}
}
