package simulation

// kind is what a row shows, and so what is worse than its figures.
type kind int

const (
	bad     kind = iota // the canary is worse: it should be taken back
	healthy             // it is not: it should be promoted, and hardly ever be taken back
	limit               // it is not the code that is worse; shown so that nobody is surprised
	neither             // there is too little to tell
)

// figures are what is required: shares in percent, the median time to the end in seconds, the median of
// failed requests before the canary is taken back.
type figures struct {
	rolledBack, promoted, inconclusive float64
	second, failed                     float64
	reason                             string // of the inconclusive ones
	notBefore                          float64
}

// row is one line of a table.
type row struct {
	name  string
	kind  kind
	world World
	want  figures
	times int // as many runs
}

// table is some rows under a heading.
type table struct {
	title, text string
	rows        []row
}

func share(rolledBack, promoted, inconclusive float64, more ...float64) figures {
	f := figures{rolledBack: rolledBack, promoted: promoted, inconclusive: inconclusive}
	if len(more) > 0 {
		f.second = more[0]
	}
	if len(more) > 1 {
		f.failed = more[1]
	}
	return f
}

func (w World) with(change func(*World)) World {
	change(&w)
	return w
}

func tables() []table {
	return []table{
		{"A canary that is worse", "The primary fails 0.1 % of its requests; weights are 20, 40 and 60 % unless said.",
			worse()},
		{"A canary that is not worse", "None of these should be taken back.", fine()},
		{"Shared causes, and little traffic", "", awkward()},
		{"Request durations alone",
			"Lognormal with a median of 40 ms and σ 0.9, in Istio's buckets. What failed is what took over 500 ms.",
			slow()},
	}
}

func worse() []row {
	one := func(name string, rps, canary float64, want figures) row {
		return row{name: name, world: world(rps, canary, 0.001), want: want}
	}
	low := func(r row) row {
		r.world.weights = []float64{0.05, 0.2, 0.5}
		r.name += ", weights 5, 20, 50"
		return r
	}
	often := func(r row) row {
		r.world.read = 1
		r.name += ", read every 5 s"
		return r
	}
	return []row{
		one("0.5 %, 5 rps", 5, 0.005, share(7.3, 46.6, 46.1, 630, 10)),
		one("0.5 %, 50 rps", 50, 0.005, share(73.7, 22.5, 3.9, 300, 23)),
		one("1 %, 5 rps", 5, 0.01, share(63.3, 2, 34.7, 555, 10)),
		one("1 %, 50 rps", 50, 0.01, share(100, 0, 0, 105, 12)),
		one("1 %, 500 rps", 500, 0.01, share(100, 0, 0, 45, 44)),
		one("2 %, 5 rps", 5, 0.02, share(96.1, 0, 3.9, 270, 7)),
		one("2 %, 50 rps", 50, 0.02, share(100, 0, 0, 45, 11)),
		one("2 %, 500 rps", 500, 0.02, share(100, 0, 0, 30, 70)),
		one("5 %, 5 rps", 5, 0.05, share(100, 0, 0, 105, 6)),
		one("5 %, 50 rps", 50, 0.05, share(100, 0, 0, 30, 18)),
		one("20 %, 5 rps", 5, 0.2, share(100, 0, 0, 30, 8)),
		one("20 %, 500 rps", 500, 0.2, share(100, 0, 0, 30, 700)),
		one("100 %, 5 rps", 5, 1, share(100, 0, 0, 15, 20)),
		one("100 %, 50 rps", 50, 1, share(100, 0, 0, 15, 200)),
		often(one("100 %, 50 rps", 50, 1, share(100, 0, 0, 5, 100))),
		one("100 %, 500 rps", 500, 1, share(100, 0, 0, 15, 1999)),
		low(one("2 %, 5 rps", 5, 0.02, share(81.2, 0, 18.8, 420, 6))),
		low(one("2 %, 50 rps", 50, 0.02, share(100, 0, 0, 120, 7))),
		low(one("0.5 %, 500 rps", 500, 0.005, share(98.4, 1.6, 0, 135, 29))),
	}
}

func fine() []row {
	one := func(name string, rps, primary, canary, times float64, want figures) row {
		return row{name: name, kind: healthy, world: world(rps, canary, primary), want: want, times: int(times)}
	}
	return []row{
		one("0.1 %, 5 rps", 5, 0.001, 0.001, 10, share(0.01, 99.2, 0.8, 360)),
		one("0.1 %, 50 rps", 50, 0.001, 0.001, 10, share(0, 100, 0, 120)),
		one("0.1 %, 500 rps", 500, 0.001, 0.001, 10, share(0, 100, 0, 90)),
		one("0.01 %, 50 rps", 50, 0.0001, 0.0001, 10, share(0, 100, 0)),
		one("2 %, 50 rps", 50, 0.02, 0.02, 10, share(0, 99.99, 0, 315)),
		one("just tolerated: 0.2 % against 0.1 %, 50 rps", 50, 0.001, 0.002, 10, share(0.17, 0, 0)),
		one("just tolerated: 0.2 % against 0.1 %, 500 rps", 500, 0.001, 0.002, 10, share(0.04, 0, 0)),
	}
}

func awkward() []row {
	incident := func(rps float64, early int) World {
		w := world(rps, 0, 0)
		w.canary, w.primary, w.early = between(70, 430, 0.001, 0.201), between(70, 430, 0.001, 0.201), early
		return w
	}
	both := func(r rate, early int) World {
		w := world(50, 0, 0)
		w.canary, w.primary, w.early = r, r, early
		return w
	}
	late := func(r rate) World { return world(50, 0, 0.001).with(func(w *World) { w.canary = r }) }
	patient := func(w World) World { return w.with(func(w *World) { w.deadline = 1800 }) }
	minute := func(n, canary float64) World { return world(n/60, canary, 0.001) }
	ended := func(f figures, reason string) figures {
		f.reason = reason
		return f
	}
	after := func(f figures, second float64) figures {
		f.notBefore = second
		return f
	}
	return []row{
		{"both fail 20 % more from 70 to 430 s, 50 rps", healthy, incident(50, 0),
			after(share(0, 99.95, 0.05, 570), 430), 1},
		{"the same at 500 rps, canary's counters read 10 s earlier", healthy, incident(500, 2),
			after(share(0, 100, 0, 480), 430), 1},
		{"both fail all from 40 to 70 s, 50 rps, canary's read 10 s earlier", healthy,
			both(between(40, 70, 0.001, 1), 2),
			share(0, 100, 0, 300), 1},
		{"both fail all from 40 s on, 50 rps", neither, both(from(40, 0.001, 1), 0),
			ended(share(0, 0, 100), "primary-unhealthy"), 1},
		{"bursts of 20 errors over both, each 200 s, 50 rps", healthy,
			world(50, 0.001, 0.001).with(func(w *World) { w.bursts = 200 }), share(0.2, 99.8, 0, 120), 1},
		{"5 % from 65 s on, 50 rps", bad, late(from(65, 0.001, 0.05)), share(100, 0, 0, 105, 46), 1},
		{"100 % from 65 s on, 50 rps", bad, late(from(65, 0.001, 1)), share(100, 0, 0, 90, 596), 1},
		{"an unlucky pod: 2 % × lognormal(0, 0.3) a run, 50 rps", limit,
			world(50, 0.02, 0.02).with(func(w *World) { w.spread = 0.3 }), share(8.8, 79.2, 12), 1},
		{"no traffic", neither, world(0, 0, 0), ended(share(0, 0, 100), "no-traffic"), 1},
		{"6 requests a minute, healthy", neither, minute(6, 0.001), ended(share(0, 0, 100), "low-traffic"), 1},
		{"6 a minute, 50 %", bad, minute(6, 0.5), share(72.4, 0, 27.7, 450, 6), 1},
		{"6 a minute, 50 %, early deadline 30 min", bad, patient(minute(6, 0.5)), share(99.97, 0, 0, 510, 6), 1},
		{"6 a minute, 100 %", bad, minute(6, 1), share(96.4, 0, 3.7, 315, 6), 1},
		{"6 a minute, 100 %, early deadline 30 min", bad, patient(minute(6, 1)), share(100, 0, 0, 330, 6), 1},
		{"60 a minute, healthy", healthy, minute(60, 0.001), share(0, 71, 29.1, 840), 1},
		{"60 a minute, 5 %", bad, minute(60, 0.05), share(83.3, 0, 16.8, 405, 6), 1},
		{"60 a minute, 5 %, early deadline 30 min", bad, patient(minute(60, 0.05)), share(99.5, 0, 0, 450, 6), 1},
	}
}

func slow() []row {
	one := func(name string, kind kind, rps float64, canary []float64, want figures) row {
		w := world(rps, 0, 0)
		w.latency = newDurations(func(float64) []float64 { return canary })
		return row{name, kind, w, want, 1}
	}
	cold, warm := buckets(3, 0), buckets(1, 0)
	chilled := one("3 times as slow for 45 s, 500 rps", healthy, 500, nil, share(0, 100, 0, 150))
	chilled.world.latency = newDurations(func(second float64) []float64 {
		if second < 45 {
			return cold
		}
		return warm
	})
	unwarmed := chilled
	unwarmed.name, unwarmed.kind, unwarmed.want, unwarmed.world.warmUp = "the same without warm-up", bad,
		share(100, 0, 0), 0
	return []row{
		one("the same, 5 rps", healthy, 5, warm, share(0, 98.1, 2, 465)),
		one("twice as slow, 5 rps", bad, 5, buckets(2, 0), share(100, 0, 0, 180, 4)),
		one("the same, 50 rps", healthy, 50, warm, share(0, 100, 0, 195)),
		one("1.5 times as slow, 50 rps", bad, 50, buckets(1.5, 0), share(100, 0, 0, 135, 13)),
		one("twice as slow, 50 rps", bad, 50, buckets(2, 0), share(100, 0, 0, 105, 23)),
		one("3 % take 3 s more, 50 rps", bad, 50, buckets(1, 0.03), share(100, 0, 0, 105, 38)),
		one("0.5 % take 3 s more, 500 rps", bad, 500, buckets(1, 0.005), share(99.8, 0.3, 0, 135, 114)),
		chilled, unwarmed,
	}
}
