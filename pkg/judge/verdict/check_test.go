package verdict

import (
	"fmt"
	"math"
	"testing"
)

func bound(v float64) *float64 { return &v }

func TestCheckTexts(t *testing.T) {
	counted := func(m Measurement, source string) Measurement {
		m.Window, m.Requests, m.Source = "1m", new(Count), source
		return m
	}
	rate := counted(Measurement{Name: SuccessRate, Min: bound(99)}, "istio_requests_total of podinfo")
	duration := counted(Measurement{Name: RequestDuration, Max: bound(1000)},
		"istio_request_duration_milliseconds of podinfo")
	depth := Measurement{Name: "queue-depth", Window: "30s", Min: bound(1), Max: bound(10)}
	none := math.NaN()
	cases := map[string]struct {
		metric Measurement
		value  float64
		halt   string
		text   string
	}{
		"rate": {rate, 88.6599, "Halt podinfo.prod advancement success rate 88.66% < 99%",
			"request-success-rate 88.66 %, want at least 99 (300 requests in 1m)"},
		"narrowly": {rate, 98.999, "Halt podinfo.prod advancement success rate 98.999% < 99%",
			"request-success-rate 98.999 %, want at least 99 (300 requests in 1m)"},
		"good": {rate, 99.9, "", "request-success-rate 99.9 %, want at least 99 (300 requests in 1m)"},
		"duration": {duration, 1200.7, "Halt podinfo.prod advancement request duration 1200ms > 1000ms",
			"request-duration 1200 ms, want at most 1000 (300 requests in 1m)"},
		"endless": {duration, math.Inf(1), "Halt podinfo.prod advancement request duration +Infms > 1000ms",
			"request-duration +Inf ms, want at most 1000 (300 requests in 1m)"},
		"high": {depth, 10.012, "Halt podinfo.prod advancement queue-depth 10.01 > 10",
			"queue-depth 10.01, want 1 to 10"},
		"low": {depth, 0.5, "Halt podinfo.prod advancement queue-depth 0.5 < 1", "queue-depth 0.5, want 1 to 10"},
		"no rate": {rate, none,
			"Halt advancement no values found for istio metric request-success-rate probably podinfo.prod is not " +
				"receiving " +
				"traffic", "request-success-rate had no values in 1m (istio_requests_total of podinfo, 0 requests)"},
		"no depth": {depth, none, "Halt advancement no values found for custom metric queue-depth",
			"queue-depth had no values in 30s"},
		"no duration": {duration, none,
			"Halt advancement no values found for istio metric request-duration probably podinfo.prod is not " +
				"receiving traffic",
			"request-duration had no values in 1m (istio_request_duration_milliseconds of podinfo, 0 requests)"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := c.metric.Found(&c.value)
			if n := Count(299.7); m.builtIn() && m.State != NoValues {
				m.Requests = &n
			}
			check := Check{Canary: "podinfo.prod"}.Done([]Measurement{m})
			if got := check.Halt(); got != c.halt {
				t.Errorf("event %q, want %q", got, c.halt)
			}
			if got := check.Text(); got != c.text {
				t.Errorf("text %q, want %q", got, c.text)
			}
			if got := check.Measurements[0].Text; got != c.text {
				t.Errorf("text of the measurement %q, want %q", got, c.text)
			}
		})
	}
}

func TestCheckIsAsBadAsItsWorst(t *testing.T) {
	of := func(states ...State) (list []Measurement) {
		for i, s := range states {
			list = append(list, Measurement{Name: fmt.Sprint("m", i), State: s, Value: new(Number), Min: bound(1)})
		}
		return list
	}
	cases := map[string]struct {
		states   []State
		want     State
		decisive string
	}{
		"all inside":               {[]State{Passed, Passed}, Passed, "m0"},
		"one outside":              {[]State{Passed, Failed}, Failed, "m1"},
		"two outside":              {[]State{Failed, Failed}, Failed, "m0"},
		"one without":              {[]State{Passed, NoValues}, NoValues, "m1"},
		"outside after without":    {[]State{NoValues, Failed}, Failed, "m1"},
		"outside before a without": {[]State{Failed, NoValues}, Failed, "m0"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			check := Check{}.Done(of(c.states...))
			if got := check.decisive().Name; check.State != c.want || got != c.decisive {
				t.Errorf("%s because of %s, want %s because of %s", check.State, got, c.want, c.decisive)
			}
		})
	}
}
