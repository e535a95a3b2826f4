package simulation

import "math"

const (
	historySeconds  = 600
	lookbackSeconds = 300 // before the history, from which its first increments are counted
	feltSeconds     = 5   // until proxies obey a new weight
)

// The arms of a rollout.
const (
	canary = iota
	primary
	arms
)

// rate is a share of requests that changes over time, which is in seconds after the start, below zero before it.
type rate func(second float64) float64

func always(p float64) rate { return func(float64) float64 { return p } }

// from is one rate before a time and another one after it.
func from(second, before, after float64) rate {
	return between(second, math.Inf(1), before, after)
}

func between(begin, end, outside, inside float64) rate {
	return func(second float64) float64 {
		if second >= begin && second < end {
			return inside
		}
		return outside
	}
}

// each is another rate for some seconds of every minute.
func each(seconds, outside, inside float64) rate {
	return func(second float64) float64 {
		if second-60*math.Floor(second/60) < seconds {
			return inside
		}
		return outside
	}
}

// World is a kind of rollout.
type World struct {
	rps       float64    // requests a second, of both arms together
	weights   []float64  // of the canary, in percent
	bad       [arms]rate // share of requests that fail
	clumps    clumps     // errors beside them
	spread    float64    // of the canary's error rate from run to run, as the σ of a lognormal
	adrift    bool       // error rates begin up to a minute earlier, at random
	durations *durations // nil where proxies have no histograms
	slow      bool       // failed is what took longer than the objective
	scrapes   scrapes    // how Prometheus reads the proxies
	judge     settings   // of the judge at all weights
	early     settings   // and at all weights but the last
}

// settings are parameters of analyze-metrics by the names of their variables.
type settings map[string]string

// clumps are errors that come together, in one second.
type clumps struct {
	every float64 // seconds between two of them, 0 for none
	apart bool    // each error of a clump falls on an arm of its own; else the whole clump falls on one
}

// clump is how many errors come at once.
const clump = 20

// scrapes is who counts requests, and how Prometheus reads them.
type scrapes struct {
	every    int       // seconds between two
	called   bool      // pods count what they are asked, each arm its own; else one proxy counts what it asks of both
	pods     int       // of each arm, where they count
	fixed    bool      // offsets are these; else each proxy is scraped at a random time
	offset   [arms]int // seconds
	kept     [arms]int // of the rollout one of so many scrapes arrives, 0 and 1 for all
	lost     float64   // share of the others that are lost
	replicas int       // of Prometheus
	churn    int       // seconds after which a pod gives way to another one, 0 for never
	restarts int       // seconds after which a proxy counts from 0 again, 0 for never
}

// world has one proxy that counts both arms, scraped every 15 s at the end of the judge's cells.
func world(rps, canaryBad, primaryBad float64) World {
	return World{rps: rps, weights: []float64{20, 40, 60}, bad: [arms]rate{always(canaryBad), always(primaryBad)},
		scrapes: scrapes{every: 15, fixed: true, replicas: 1},
		judge:   settings{"LATENCY": "off", "MIN_DWELL": "30s", "TIME_BOX": "120s"}, early: settings{}}
}

func (w World) with(changes ...func(*World)) World {
	for _, change := range changes {
		change(&w)
	}
	return w
}

// set is the world with another parameter.
func (s settings) set(name, value string) settings {
	changed := settings{name: value}
	for n, v := range s {
		if n != name {
			changed[n] = v
		}
	}
	return changed
}
