package simulation

// aboutSpecified holds for all of these tables.
const aboutSpecified = "In this table and those below the judge has no limits and looks at errors alone, or " +
	"durations, and one proxy is\nscraped every 15 s. The primary fails 0.1 % of its requests; weights are 20, 40 " +
	"and 60 % unless said. What is wanted\nmay be missed by chance: by three standard errors and half " +
	"a point of a share, 15 % and two failed requests. A median\ntime may be longer by one interval " +
	"and 5 s until its cell has settled, and until a promotion by these for each raise\nof the weight."

// specified are the tables of the specification.
func specified() []table {
	return []table{
		{"A canary that is worse", aboutSpecified, worse()},
		{"A canary that is not worse", "None of these should be taken back.", fine()},
		{"Shared causes, and little traffic", "", awkward()},
		{"Request durations alone",
			"Lognormal with a median of 40 ms and σ 0.9, in Istio's buckets. What failed is what took over 500 ms.",
			slow()},
	}
}

func specify(name string, kind kind, w World, f figures, times int) row {
	return row{name: name, bad: kind == bad, world: w, want: f.of(kind, w), times: times,
		sure: f.rolledBack == 100 || f.promoted == 100}
}

func worse() []row {
	one := func(name string, rps, percent float64, want figures, changes ...func(*World)) row {
		return specify(name, bad, world(rps, percent/100, 0.001).with(changes...), want, 1)
	}
	low := func(w *World) { w.weights = []float64{5, 20, 50} }
	often := func(w *World) { w.scrapes.every = 5 }
	return []row{
		one("0.5 %, 5 rps", 5, 0.5, share(7.3, 46.6, 46.1, 630, 10)),
		one("0.5 %, 50 rps", 50, 0.5, share(73.7, 22.5, 3.9, 300, 23)),
		one("1 %, 5 rps", 5, 1, share(63.3, 2, 34.7, 555, 10)),
		one("1 %, 50 rps", 50, 1, share(100, 0, 0, 105, 12)),
		one("1 %, 500 rps", 500, 1, share(100, 0, 0, 45, 44)),
		one("2 %, 5 rps", 5, 2, share(96.1, 0, 3.9, 270, 7)),
		one("2 %, 50 rps", 50, 2, share(100, 0, 0, 45, 11)),
		one("2 %, 500 rps", 500, 2, share(100, 0, 0, 30, 70)),
		one("5 %, 5 rps", 5, 5, share(100, 0, 0, 105, 6)),
		one("5 %, 50 rps", 50, 5, share(100, 0, 0, 30, 18)),
		one("20 %, 5 rps", 5, 20, share(100, 0, 0, 30, 8)),
		one("20 %, 500 rps", 500, 20, share(100, 0, 0, 30, 700)),
		one("100 %, 5 rps", 5, 100, share(100, 0, 0, 15, 20)),
		one("100 %, 50 rps", 50, 100, share(100, 0, 0, 15, 200)),
		one("100 %, 50 rps, read every 5 s", 50, 100, share(100, 0, 0, 5, 100), often),
		one("100 %, 500 rps", 500, 100, share(100, 0, 0, 15, 1999)),
		one("2 %, 5 rps, weights 5, 20, 50", 5, 2, share(81.2, 0, 18.8, 420, 6), low),
		one("2 %, 50 rps, weights 5, 20, 50", 50, 2, share(100, 0, 0, 120, 7), low),
		one("0.5 %, 500 rps, weights 5, 20, 50", 500, 0.5, share(98.4, 1.6, 0, 135, 29), low),
	}
}

func fine() []row {
	one := func(name string, rps, primary, canary float64, want figures) row {
		return specify(name, healthy, world(rps, canary, primary), want, 10)
	}
	return []row{
		one("0.1 %, 5 rps", 5, 0.001, 0.001, share(0.01, 99.2, 0.8, 360)),
		one("0.1 %, 50 rps", 50, 0.001, 0.001, share(0, 100, 0, 120)),
		one("0.1 %, 500 rps", 500, 0.001, 0.001, share(0, 100, 0, 90)),
		one("0.01 %, 50 rps", 50, 0.0001, 0.0001, share(0, 100, 0)),
		one("2 %, 50 rps", 50, 0.02, 0.02, share(0, 99.99, 0, 315)),
		one("just tolerated: 0.2 % against 0.1 %, 50 rps", 50, 0.001, 0.002, share(0.17, 0, 0)),
		one("just tolerated: 0.2 % against 0.1 %, 500 rps", 500, 0.001, 0.002, share(0.04, 0, 0)),
	}
}

func awkward() []row {
	both := func(rps float64, r rate, changes ...func(*World)) World {
		return world(rps, 0, 0).with(changes...).with(func(w *World) { w.bad = [arms]rate{r, r} })
	}
	// The canary's counters are read 10 s earlier than the primary's.
	early := func(w *World) { w.scrapes.called, w.scrapes.offset = true, [arms]int{5, 0} }
	late := func(r rate) World { return world(50, 0, 0.001).with(func(w *World) { w.bad[canary] = r }) }
	patient := func(w *World) { w.early = w.early.set("DEADLINE", "30m") }
	minute := func(n, percent float64, changes ...func(*World)) World {
		return world(n/60, percent/100, 0.001).with(changes...)
	}
	ended := func(f figures, reason string) figures {
		f.reason = reason
		return f
	}
	after := func(f figures, second float64) figures {
		f.notBefore = second
		return f
	}
	incident := between(70, 430, 0.001, 0.201)
	return []row{
		specify("both fail 20 % more from 70 to 430 s, 50 rps", healthy, both(50, incident),
			after(share(0, 99.95, 0.05, 570), 430), 1),
		specify("the same at 500 rps, canary's counters read 10 s earlier", healthy, both(500, incident, early),
			after(share(0, 100, 0, 480), 430), 1),
		specify("both fail all from 40 to 70 s, 50 rps, canary's read 10 s earlier", healthy,
			both(50, between(40, 70, 0.001, 1), early), share(0, 100, 0, 300), 1),
		specify("both fail all from 40 s on, 50 rps", neither, both(50, from(40, 0.001, 1)),
			ended(share(0, 0, 100), "primary-unhealthy"), 1),
		// no time is wanted: errors that come in bursts prove less, so that it takes longer
		specify("bursts of 20 errors over both, each 200 s, 50 rps", healthy,
			world(50, 0.001, 0.001).with(func(w *World) { w.clumps = clumps{every: 200, apart: true} }),
			share(0.2, 99.8, 0), 1),
		specify("5 % from 65 s on, 50 rps", bad, late(from(65, 0.001, 0.05)), share(100, 0, 0, 105, 46), 1),
		specify("100 % from 65 s on, 50 rps", bad, late(from(65, 0.001, 1)), share(100, 0, 0, 90, 596), 1),
		specify("an unlucky pod: 2 % × lognormal(0, 0.3) a run, 50 rps", limit,
			world(50, 0.02, 0.02).with(func(w *World) { w.spread = 0.3 }), share(8.8, 79.2, 12), 1),
		specify("no traffic", neither, world(0, 0, 0), ended(share(0, 0, 100), "no-traffic"), 1),
		specify("6 requests a minute, healthy", neither, minute(6, 0.1), ended(share(0, 0, 100), "low-traffic"), 1),
		specify("6 a minute, 50 %", bad, minute(6, 50), share(72.4, 0, 27.7, 450, 6), 1),
		specify("6 a minute, 50 %, early deadline 30 min", bad, minute(6, 50, patient), share(99.97, 0, 0, 510, 6), 1),
		specify("6 a minute, 100 %", bad, minute(6, 100), share(96.4, 0, 3.7, 315, 6), 1),
		specify("6 a minute, 100 %, early deadline 30 min", bad, minute(6, 100, patient), share(100, 0, 0, 330, 6), 1),
		specify("60 a minute, healthy", healthy, minute(60, 0.1), share(0, 71, 29.1, 840), 1),
		specify("60 a minute, 5 %", bad, minute(60, 5), share(83.3, 0, 16.8, 405, 6), 1),
		specify("60 a minute, 5 %, early deadline 30 min", bad, minute(60, 5, patient), share(99.5, 0, 0, 450, 6), 1),
	}
}

func slow() []row {
	one := func(name string, kind kind, rps, factor, stalled float64, want figures, changes ...func(*World)) row {
		w := world(rps, 0, 0)
		w.durations, w.slow, w.judge = newDurations(40, [arms][]float64{istio, istio}), true, w.judge.set("LATENCY",
			"auto")
		changed := w.durations.mixture(40*factor, stalled)
		w.durations.at[canary] = func(moment) *mixture { return changed }
		return specify(name, kind, w.with(changes...), want, 1)
	}
	cold := func(w *World) {
		warm, cold := w.durations.usual, w.durations.mixture(120, 0)
		w.durations.at[canary] = func(m moment) *mixture {
			if m.second < 45 {
				return cold
			}
			return warm
		}
	}
	unwarmed := func(w *World) { w.judge = w.judge.set("WARM_UP", "0s") }
	return []row{
		one("the same, 5 rps", healthy, 5, 1, 0, share(0, 98.1, 2, 465)),
		one("twice as slow, 5 rps", bad, 5, 2, 0, share(100, 0, 0, 180, 4)),
		one("the same, 50 rps", healthy, 50, 1, 0, share(0, 100, 0, 195)),
		one("1.5 times as slow, 50 rps", bad, 50, 1.5, 0, share(100, 0, 0, 135, 13)),
		one("twice as slow, 50 rps", bad, 50, 2, 0, share(100, 0, 0, 105, 23)),
		one("3 % take 3 s more, 50 rps", bad, 50, 1, 0.03, share(100, 0, 0, 105, 38)),
		one("0.5 % take 3 s more, 500 rps", bad, 500, 1, 0.005, share(99.8, 0.3, 0, 135, 114)),
		one("3 times as slow for 45 s, 500 rps", healthy, 500, 1, 0, share(0, 100, 0, 150), cold),
		one("the same without warm-up", bad, 500, 1, 0, share(100, 0, 0), cold, unwarmed),
	}
}
