package simulation

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// wild is a rollout in which anything may happen, as a Prometheus holds it.
type wild struct {
	*store
	random    *rand.Rand
	settings  settings
	stages    []run.Stage
	first     time.Time // when the judge begins
	known     map[wildSeries]int
	replicas  int     // of Prometheus
	blank     float64 // share of scrapes without numbers
	rewritten bool    // bounds are written as Prometheus 3 does
}

// wildProxy counts what it asks, or what it is asked.
type wildProxy struct {
	reporter     counting.Reporter
	name         int
	arms         []int
	from, to     int   // seconds
	offsets      []int // milliseconds, of each replica of Prometheus
	begins, ends []int // seconds, of each replica
	bounds       []float64
	requests     [arms][codes]float64
	buckets      [arms][codes][]float64
}

type wildSeries struct {
	key  seriesKey
	code int
	name model.LabelValue
	le   string
}

// wildSeconds is how long it lasts: no deadline is later.
const wildSeconds = 1200

func oneOf[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

func newWild(seed uint64) *wild {
	r := rand.New(rand.NewPCG(seed, 99))
	w := &wild{store: newStore(world(1, 0, 0)), random: r, settings: settings{}, known: map[wildSeries]int{},
		replicas: oneOf(r, 1, 1, 2, 3), blank: oneOf(r, 0, 0, 0.02), rewritten: r.IntN(2) == 0}
	set := func(name string, values ...string) {
		if v := oneOf(r, values...); v != "" {
			w.settings[name] = v
		}
	}
	set("GATE", "prove", "time-box")
	set("MIN_DWELL", "", "60s", "1s")
	set("TIME_BOX", "", "60s", "90s", "30s")
	set("DEADLINE", "", "200s", "120s", "300s")
	set("LATENCY", "", "", "", "", "", "off", "required")
	set("LATENCY_OBJECTIVE", "", "", "300")
	set("WARM_UP", "", "1s", "10m")
	set("SUCCESS_RATE", "", "99", "100", "99.9", "70")
	set("REQUEST_DURATION", "", "500", "80", "99999999")
	set("DESIGN_EFFECT", "", "1", "7.5")
	set("REPORTER", "", "", "source", "destination")
	set("SCRAPE_INTERVAL", "", "", "", "5s", "1s", "40s")
	set("WEIGHT_CHECK", "", "off")
	set("METRICS", "", "", `[{"name": "request-success-rate", "min": 90, "max": 100}]`,
		`[{"name": "request-success-rate", "min": 99}, {"name": "request-duration", "max": 500}]`)
	set("THRESHOLD", "", "5")
	at := noon
	for i := range 1 + r.IntN(3) {
		if i > 0 {
			at = at.Add(time.Duration(oneOf(r, 0, 31, 60, 75, 118)) * time.Second)
		}
		w.stages = append(w.stages, run.Stage{Weight: parameter.Weight(oneOf(r, 1, 5, 20, 40, 60, 95)), At: at})
	}
	w.first = at.Add(time.Duration(oneOf(r, -4000, 0, 0, 300, 2500, 40000, 400000)) * time.Millisecond)
	w.live()
	return w
}

// live has proxies count and be scraped, from before the history until after the last deadline.
func (w *wild) live() {
	r := w.random
	every, rps, lost := oneOf(r, 5, 15, 15, 15, 30, 60, 90), oneOf(r, 0.3, 3, 30, 300), oneOf(r, 0, 0, 0.05, 0.4)
	begin, resets := oneOf(r, -920, -920, -920, -300, -every, 0, 10), oneOf(r, 0, 0, 0.002)
	bad, worse, slower := oneOf(r, 0, 0.001, 0.02, 0.3), oneOf(r, 0, 0, 0, 0.01, 0.2, 1), oneOf(r, 1.0, 1, 1, 3)
	outage := between(float64(r.IntN(400)), float64(r.IntN(500)), 0, 0.9)
	blind := between(float64(r.IntN(400)), float64(r.IntN(500)), 0, float64(r.IntN(2)))
	gone := oneOf(r, math.MaxInt, math.MaxInt, r.IntN(200)) // from when on the canary is not
	usual, slow := newDurations(far, [arms][]float64{istio, istio}).usual, newDurations(slower*far,
		[arms][]float64{istio, istio}).usual
	proxies := w.proxies(every, begin)
	for second := -950; second < wildSeconds; second++ {
		share := w.share(second)
		for _, reporter := range []counting.Reporter{counting.Source, counting.Destination} {
			for arm, part := range [arms]float64{share, 1 - share} {
				rate, mix := bad, usual
				if arm == canary {
					rate, mix = bad+worse, slow
				}
				var all []*wildProxy
				for _, p := range proxies {
					if p.reporter == reporter && p.lives(second, gone) && slices.Contains(p.arms, arm) {
						all = append(all, p)
					}
				}
				for _, p := range all {
					n := poisson(r, rps*part/float64(len(all)))
					failed := binomial(r, int(n), min(max(rate, outage(float64(second))), 1))
					p.count(r, arm, good, n-failed, mix)
					p.count(r, arm, failing, failed, mix)
				}
			}
		}
		for _, p := range proxies {
			if second < begin || blind(float64(second)) > 0 || !p.lives(second, gone) {
				continue
			}
			if r.Float64() < resets {
				p.requests, p.buckets = [arms][codes]float64{}, [arms][codes][]float64{}
			}
			for i, offset := range p.offsets {
				if second >= p.begins[i] && second < p.ends[i] && (second+9000)%every == offset/1000 &&
					r.Float64() >= lost {
					w.scrape(p, i, w.epoch+model.Time(1000*second+offset%1000))
				}
			}
		}
	}
}

// share is the canary's, a second after its weight was set.
func (w *wild) share(second int) float64 {
	share := 0.0
	for _, s := range w.stages {
		if float64(second) >= s.At.Sub(noon).Seconds()+1 {
			share = float64(s.Weight) / 100
		}
	}
	return share
}

// proxies of one reporter or of both, with histograms or without.
func (w *wild) proxies(every, begin int) []*wildProxy {
	r := w.random
	which, histograms, churn := oneOf(r, 1, 2, 3, 3), r.IntN(4), oneOf(r, 0, 0, 90)
	layouts := [][]float64{{5, 25, 100, 500}, {10, 50, 250, 1000}, {25, 100, 1000}, istio}
	var all []*wildProxy
	add := func(reporter counting.Reporter, from, to int, arms ...int) {
		p := &wildProxy{reporter: reporter, name: len(all), arms: arms, from: from, to: to,
			bounds: [][]float64{nil, istio, layouts[arms[0]], oneOf(r, layouts...)}[histograms]}
		for i := range w.replicas {
			p.offsets = append(p.offsets, r.IntN(every*1000))
			p.begins = append(p.begins, oneOf(r, math.MinInt, math.MinInt, r.IntN(200))*min(i, 1))
			p.ends = append(p.ends, oneOf(r, math.MaxInt, math.MaxInt, r.IntN(400)))
		}
		if p.begins[0] = math.MinInt; w.replicas == 1 {
			p.ends[0] = math.MaxInt
		}
		all = append(all, p)
	}
	for range (which & 1) * (1 + r.IntN(2)) {
		add(counting.Source, math.MinInt, math.MaxInt, canary, primary)
	}
	for i := range (which & 2) * (1 + r.IntN(3)) {
		from, to := oneOf(r, math.MinInt, math.MinInt, r.IntN(300)), math.MaxInt
		if i < arms {
			from = math.MinInt
		}
		for from < wildSeconds {
			if churn > 0 {
				to = max(from, begin) + 30 + r.IntN(4*churn)
			}
			add(counting.Destination, from, to, i%arms)
			from = to
		}
	}
	return all
}

func (p *wildProxy) lives(second, gone int) bool {
	return second >= p.from && second < p.to &&
		(second < gone || p.reporter == counting.Source || !slices.Contains(p.arms, canary))
}

// count counts requests; a few durations stand for many.
func (p *wildProxy) count(r *rand.Rand, arm, code int, n float64, mix *mixture) {
	p.requests[arm][code] += n
	if p.buckets[arm][code] == nil {
		p.buckets[arm][code] = make([]float64, len(p.bounds))
	}
	for range int(min(n, 30)) {
		cell, upper := mix.cell(r.Float64()), math.Inf(1)
		if cell < len(istio) {
			upper = istio[cell]
		}
		for i, bound := range p.bounds {
			if upper <= bound {
				p.buckets[arm][code][i] += n / min(n, 30)
			}
		}
	}
}

func (w *wild) scrape(p *wildProxy, replica int, at model.Time) {
	blank := w.random.Float64() < w.blank
	for arm := range p.requests {
		for code, n := range p.requests[arm] {
			if n == 0 {
				continue
			}
			put := func(name model.LabelValue, le string, v float64) {
				if blank {
					v = math.NaN()
				}
				w.append(w.seriesFor(p, wildSeries{seriesKey{p.name, arm, replica}, code, name, le}), at, v)
			}
			put(counting.Requests, "", n)
			for i, bound := range p.bounds {
				le := strconv.FormatFloat(bound, 'f', -1, 64)
				if w.rewritten {
					if le = strconv.FormatFloat(bound, 'g', -1, 64); !strings.ContainsAny(le, ".e") {
						le += ".0"
					}
				}
				put(counting.Durations, le, math.Round(p.buckets[arm][code][i]))
			}
			if p.bounds != nil {
				put(counting.Durations, "+Inf", n)
			}
		}
	}
}

// seriesFor is the index of a series, which is made when it is met.
func (w *wild) seriesFor(p *wildProxy, s wildSeries) int {
	if i, known := w.known[s]; known {
		return i
	}
	w.store.reporter, w.store.replicas = p.reporter, w.replicas
	i, le := len(w.series), math.NaN()
	if s.le != "" {
		le, _ = strconv.ParseFloat(s.le, 64)
	}
	w.add(s.key, s.name, []model.LabelValue{"200", "503"}[s.code], le)
	if s.le != "" {
		w.series[i].metric[model.BucketLabel] = model.LabelValue(s.le)
	}
	w.known[s] = i
	return i
}
