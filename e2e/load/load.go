// Package load sends requests at a constant rate, whatever the answers, and counts what comes back.
package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Options say what is sent.
type Options struct {
	URL      string
	Host     string        // the Host header, by which a gateway chooses; default that of URL
	Rate     int           // requests a second
	Duration time.Duration // 0: until the context ends
	Timeout  time.Duration // of one request; default 10 s

	EachSecond func(Second) // called in order, about 100 ms after the second's end
	EachAnswer func(Answer) // called in the order of answers
}

// Answer is what became of one request.
type Answer struct {
	At      time.Time // when the answer was there
	Latency time.Duration
	Status  int    // 0: none came
	Version string // which version of the application answered; empty where the answer does not tell
	Err     string // why no answer came
}

// Failed tells whether a user would have noticed: no answer, or a status of 500 and above.
func (a Answer) Failed() bool { return a.Status == 0 || a.Status >= 500 }

// Second is what was answered in one second, by the clock.
type Second struct {
	From     time.Time        `json:"from"`
	Requests int              `json:"requests"`
	Failed   int              `json:"failed"`
	Statuses map[string]int   `json:"statuses"` // "200", or "none"
	Versions map[string]Count `json:"versions"` // by version, "unknown" where the answer does not tell
	Latency  Latency          `json:"latency"`

	latencies []time.Duration
}

// Count is how many requests a version answered, and how many of them with a failure.
type Count struct {
	Requests int `json:"requests"`
	Failed   int `json:"failed"`
}

// Latency is in nanoseconds in JSON.
type Latency struct {
	P50 time.Duration `json:"p50"`
	P90 time.Duration `json:"p90"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

// Report is a whole run.
type Report struct {
	Total   Second   `json:"total"`
	Seconds []Second `json:"seconds"`
}

// Run sends until the duration is over or ctx ends, either of which is no error, and waits for the last answers.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Rate < 1 {
		return nil, fmt.Errorf("sending load: rate %d, want at least 1 a second", o.Rate)
	}
	if u, err := url.Parse(o.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("sending load to %q: want an http or https URL", o.URL)
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	target := vegeta.Target{Method: http.MethodGet, URL: o.URL, Header: http.Header{}}
	if o.Host != "" {
		target.Header.Set("Host", o.Host)
	}
	client := &http.Client{Timeout: o.Timeout,
		Transport: once{&http.Transport{MaxIdleConnsPerHost: 1000, IdleConnTimeout: time.Minute}}}
	attacker := vegeta.NewAttacker(vegeta.Client(client), vegeta.MaxBody(4096))
	answers := attacker.Attack(vegeta.NewStaticTargeter(target), vegeta.Rate{Freq: o.Rate, Per: time.Second},
		o.Duration, "")
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	return collect(answers, o), nil
}

// once sends every request once. A request without a body would be sent again, unseen, where a connection breaks.
type once struct{ http.RoundTripper }

func (o once) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Body, req.GetBody = io.NopCloser(strings.NewReader("")), nil
	return o.RoundTripper.RoundTrip(req)
}

// collect sorts answers into seconds as they come.
func collect(answers <-chan *vegeta.Result, o Options) *Report {
	report := &Report{Total: newSecond(time.Now())}
	current := newSecond(time.Now())
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	finish := func(now time.Time) {
		for !now.Before(current.From.Add(time.Second)) {
			current.close()
			report.Seconds = append(report.Seconds, current)
			if o.EachSecond != nil {
				o.EachSecond(current)
			}
			current = newSecond(current.From.Add(time.Second))
		}
	}
	for {
		select {
		case r, more := <-answers:
			if !more {
				finish(current.From.Add(time.Second)) // the last one is shorter
				report.Total.close()
				return report
			}
			a := read(r)
			if o.EachAnswer != nil {
				o.EachAnswer(a)
			}
			finish(a.At)
			current.add(a)
			report.Total.add(a)
		case now := <-tick.C:
			finish(now.Add(-50 * time.Millisecond)) // an answer on its way through the channel is not late yet
		}
	}
}

func read(r *vegeta.Result) Answer {
	return Answer{At: r.Timestamp.Add(r.Latency), Latency: r.Latency, Status: int(r.Code), Version: version(r),
		Err: noAnswer(r)}
}

// noAnswer is the error of a request without answer: vegeta counts statuses of 400 and above as errors too.
func noAnswer(r *vegeta.Result) string {
	if r.Code != 0 {
		return ""
	}
	return r.Error
}

// version finds out who answered: by header, or by the message that podinfo is given.
func version(r *vegeta.Result) string {
	if v := r.Headers.Get("X-Version"); v != "" {
		return v
	}
	var body struct{ Message string }
	if json.Unmarshal(r.Body, &body) != nil {
		return ""
	}
	return body.Message
}

func newSecond(from time.Time) Second {
	return Second{From: from, Statuses: map[string]int{}, Versions: map[string]Count{}}
}

func (s *Second) add(a Answer) {
	status, version, failed := "none", a.Version, 0
	if a.Status != 0 {
		status = strconv.Itoa(a.Status)
	}
	if version == "" {
		version = "unknown"
	}
	if a.Failed() {
		failed = 1
	}
	s.Requests++
	s.Failed += failed
	s.Statuses[status]++
	c := s.Versions[version]
	s.Versions[version] = Count{c.Requests + 1, c.Failed + failed}
	s.latencies = append(s.latencies, a.Latency)
}

// close computes what needs all answers.
func (s *Second) close() {
	n := len(s.latencies)
	if n == 0 {
		return
	}
	slices.Sort(s.latencies)
	at := func(q float64) time.Duration { return s.latencies[min(n-1, int(q*float64(n)))] }
	s.Latency = Latency{P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: s.latencies[n-1]}
	s.latencies = nil
}

// String is one line for people: the second, its failures, its latency, and each version's share.
func (s Second) String() string {
	line := fmt.Sprintf("%s %5d answers %4d failed  p50 %-7s p99 %-7s", s.From.Format("15:04:05"), s.Requests, s.Failed,
		s.Latency.P50.Round(100*time.Microsecond), s.Latency.P99.Round(100*time.Microsecond))
	for _, v := range slices.Sorted(maps.Keys(s.Versions)) {
		line += fmt.Sprintf("  %s: %d", v, s.Versions[v].Requests)
		if f := s.Versions[v].Failed; f > 0 {
			line += fmt.Sprintf(" (%d failed)", f)
		}
	}
	return line
}
