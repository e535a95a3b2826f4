package simulation

import "fmt"

// far and near are medians of the duration, in milliseconds, whose 99th percentiles are 100 and 500 ms.
const (
	far  = 12.3
	near = 61.6
)

// asShipped is a world that the Pipelines judge as they are shipped, with limits: proxies are scraped at times of
// their own.
func asShipped(rps, canaryPercent, primaryPercent, median float64) World {
	w := world(rps, canaryPercent/100, primaryPercent/100)
	w.scrapes.fixed = false
	w.durations = newDurations(median, [arms][]float64{istio, istio})
	w.judge = settings{"SUCCESS_RATE": "99", "REQUEST_DURATION": "500", "INTERVAL": "60s", "MIN_DWELL": "60s",
		"THRESHOLD": "5", "NO_VALUES": "inconclusive"}
	return w
}

// What the tables say before their rows.
const (
	aboutNothing = "Weights 20, 40, 60 %, scrapes each 15 s at a time of each proxy's own; limits are a success rate " +
		"of 99 % and a 99th\npercentile of 500 ms; early weights have gate `time-box`, the last has gate " +
		"`prove`. Both arms fail alike and take\nequally long. In this table and the next four, what is " +
		"wanted is wanted without allowance for chance; the bound is the\nupper 95 % one."
	aboutIncidents = "Both arms suffer, at 50 rps. Where pods count, each arm's are scraped at times of their own. " +
		"Scrapes are lost from the\nstart on; outages each minute begin at random."
	aboutHiccups = "The canary alone is slow for 20 s after each raise of its weight; a clump is 20 errors in one " +
		"second, all of one arm."
	aboutWorse = "The primary fails 0.1 % of its requests. Where the canary is slower, what failed is what took " +
		"over 500 ms. The other\nbuckets are 10, 50, 250 and 1000 ms against the primary's 5, 25, 100 and " +
		"500 ms."
	aboutSeen = "Both arms fail 0.1 % of their requests, at 50 rps, unless said. Pairs of Prometheus scrape at " +
		"different times; of\nthree pods of each arm one gives way to another each 3 minutes; a proxy " +
		"counts from 0 again each minute."
)

// shipped are the tables of the judge as the Pipelines are shipped.
func shipped() []table {
	return []table{
		{"As the Pipelines are shipped: nothing is wrong", aboutNothing, nothingWrong()},
		{"Shared incidents", aboutIncidents, incidents()},
		{"Cold starts, and errors in clumps", aboutHiccups, hiccups()},
		{"A canary that is worse, with limits", aboutWorse, caughtOut()},
		{"What Prometheus sees", aboutSeen, seen()},
	}
}

func nothingWrong() []row {
	var rows []row
	for _, rps := range []float64{0.5, 5, 50, 500} {
		for _, percent := range []float64{0, 0.5, 1, 5} {
			for _, p99 := range []float64{far, near} {
				r := row{name: fmt.Sprintf("%s %%, P99 %s ms, %s rps", short(percent),
					map[float64]string{far: "100", near: "500"}[p99], short(rps)),
					world: asShipped(rps, percent, percent, p99), want: all(takenBack(0.2), boundedBy(0.5))}
				if rps >= 50 {
					r.times = 10
				}
				rows = append(rows, r)
			}
		}
	}
	return append(rows, row{name: "0.1 %, P99 100 ms, 5 rps", world: asShipped(5, 0.1, 0.1, far),
		want: all(takenBack(0.2), boundedBy(0.5), promotedAtLeast(90))})
}

// pods has each pod count what it is asked.
func pods(n int) func(*World) { return func(w *World) { w.scrapes.called, w.scrapes.pods = true, n } }

// alike has both arms fail alike.
func alike(r rate) func(*World) { return func(w *World) { w.bad = [arms]rate{r, r} } }

func incidents() []row {
	one := func(name string, changes ...func(*World)) row {
		return row{name: name, world: asShipped(50, 0.1, 0.1, far).with(changes...), want: takenBack(0.2)}
	}
	slowed := func(w *World) {
		usual, slow := w.durations.usual, w.durations.mixture(5*far, 0)
		for arm := range w.durations.at {
			w.durations.at[arm] = func(m moment) *mixture {
				if m.second >= 70 && m.second < 130 {
					return slow
				}
				return usual
			}
		}
	}
	more, down, outages := alike(between(70, 130, 0.001, 0.201)), alike(between(70, 100, 0.001, 1)),
		alike(each(5, 0.001, 1))
	// a limit of reporter destination: what the canary's first scrape tells is of a time of which the primary's tells
	// little
	begun := one("all requests fail in the first 5 s, pods count", alike(between(0, 5, 0.001, 1)), pods(1))
	begun.want = takenBack(2)
	drifting := func(w *World) { w.adrift = true }
	third := func(arm int) func(*World) { return func(w *World) { w.scrapes.kept[arm] = 3 } }
	return []row{
		one("20 % more errors from 70 to 130 s", more),
		one("the same, pods count", more, pods(1)),
		one("all requests fail from 70 to 100 s", down),
		one("the same, pods count", down, pods(1)),
		one("5 times as slow from 70 to 130 s", slowed),
		one("the same, pods count", slowed, pods(1)),
		begun,
		one("down for 5 s each minute, pods count", outages, drifting, pods(1)),
		one("the same, 2 of 3 scrapes of the canary lost", outages, drifting, pods(1), third(canary)),
		one("the same, 2 of 3 scrapes of the primary lost", outages, drifting, pods(1), third(primary)),
		one("the same, 1 of 5 scrapes lost anywhere", outages, drifting, pods(1),
			func(w *World) { w.scrapes.lost = 0.2 }),
	}
}

func hiccups() []row {
	cold := func(rps, factor float64) row {
		w := asShipped(rps, 0.1, 0.1, far)
		usual, slow := w.durations.usual, w.durations.mixture(factor*far, 0)
		w.durations.at[canary] = func(m moment) *mixture {
			if m.raised < 20 {
				return slow
			}
			return usual
		}
		return row{name: fmt.Sprintf("%s times as slow for 20 s after each raise, %s rps", short(factor), short(rps)),
			world: w, want: takenBack(0.5)}
	}
	clumped := func(rps, every float64) row {
		w := asShipped(rps, 0.1, 0.1, far)
		w.clumps.every = every
		return row{name: fmt.Sprintf("a clump each %s s, %s rps", short(every), short(rps)), world: w,
			want: takenBack(0.5)}
	}
	return []row{cold(50, 3), cold(50, 5), cold(5, 3), cold(5, 5), clumped(50, 200), clumped(50, 60), clumped(5, 200)}
}

// slower has the canary's requests take longer by a factor, in other buckets if there are any.
func slower(factor, median float64, own [arms][]float64) func(*World) {
	return func(w *World) {
		w.durations, w.slow = newDurations(median, own), true
		slow := w.durations.mixture(factor*median, 0)
		w.durations.at[canary] = func(moment) *mixture { return slow }
	}
}

func caughtOut() []row {
	other := [arms][]float64{{10, 50, 250, 1000}, {5, 25, 100, 500}}
	quick := all(caught(99), within(125))
	return []row{
		{name: "1 % more errors, 50 rps", bad: true, world: asShipped(50, 1.1, 0.1, far), want: quick},
		{name: "5 % more errors, 5 rps", bad: true, world: asShipped(5, 5.1, 0.1, far), want: quick},
		{name: "twice as slow as 325 ms (P99), 50 rps", bad: true,
			world: asShipped(50, 0.1, 0.1, far).with(slower(2, 40, [arms][]float64{istio, istio})),
			want:  all(caught(100), within(110))},
		{name: "5 times as slow, in other buckets, 50 rps", bad: true,
			world: asShipped(50, 0.1, 0.1, far).with(slower(5, 20, other)), want: promotedAtMost(0)},
		{name: "5 times as slow, in other buckets, 5 rps", bad: true,
			world: asShipped(5, 0.1, 0.1, far).with(slower(5, 20, other)), want: promotedAtMost(0)},
	}
}

func seen() []row {
	pair := func(w *World) { w.scrapes.replicas = 2 }
	churn := func(w *World) { w.scrapes.churn = 180 }
	restarts := func(w *World) { w.scrapes.restarts = 60 }
	often := func(w *World) { w.scrapes.every = 5 }
	fine := func(name string, changes ...func(*World)) row {
		return row{name: name + ", healthy", world: asShipped(50, 0.1, 0.1, far).with(changes...), want: takenBack(0.2)}
	}
	worse := func(name string, changes ...func(*World)) row {
		return row{name: name + ", 1 % more errors", bad: true,
			world: asShipped(50, 1.1, 0.1, far).with(changes...), want: caught(99)}
	}
	return []row{
		fine("a pair", pair), worse("a pair", pair),
		fine("a pair, pods count", pair, pods(1)), worse("a pair, pods count", pair, pods(1)),
		fine("a pair, 5 % of both fail", pair, pods(1), alike(always(0.05))),
		fine("pods come and go", pods(3), churn), worse("pods come and go", pods(3), churn),
		fine("proxies restart", pods(1), restarts), worse("proxies restart", pods(1), restarts),
		fine("all of these", pair, pods(3), churn, restarts), worse("all of these", pair, pods(3), churn, restarts),
		fine("scrapes each 5 s", often), worse("scrapes each 5 s", often),
	}
}
