package replay

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// asker is all that a past asks of Prometheus.
type asker interface {
	Query(context.Context, string, time.Time) (model.Value, error)
}

// Past is what Prometheus held at a time, read when it is first asked for and then kept. Raw samples that are
// asked for a second time are read up to the end of the past, so that a judge that looks again and again costs
// two reads.
type Past struct {
	until   time.Time
	server  asker // nil where everything has been recorded
	samples map[string]*samples
	answers map[instant]model.Value
}

// samples are those of a selector, after one time and up to another.
type samples struct {
	from, to time.Time
	matrix   model.Matrix
}

// instant is an expression and a time, in whole milliseconds as Prometheus knows them.
type instant struct {
	query string
	at    model.Time
}

// New is the past of a server up to a time.
func New(server asker, until time.Time) *Past {
	return &Past{until: until, server: server, samples: map[string]*samples{}, answers: map[instant]model.Value{}}
}

// Query evaluates an expression as Prometheus did or would.
func (p *Past) Query(ctx context.Context, promql string, at time.Time) (model.Value, error) {
	if at.After(p.until) {
		return nil, failure.Configf("replaying: %s is after %s, the end of what is replayed",
			clockTime(at), clockTime(p.until))
	}
	if selector, window, ok := rangeOf(promql); ok {
		return p.window(ctx, selector, at.Add(-window), at)
	}
	key := instant{promql, moment(at)}
	if value, known := p.answers[key]; known {
		return value, nil
	}
	if p.server == nil {
		return nil, failure.Configf("replaying: the recording has no answer to %s at %s, "+
			"want one that was made with the same metrics, interval and reporter", promql, clockTime(at))
	}
	value, err := p.server.Query(ctx, promql, at)
	if err == nil {
		p.answers[key] = value
	}
	return value, err
}

var rawSamples = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*\{.*\})\[([0-9]+)s\]$`)

// rangeOf takes a query for raw samples apart.
func rangeOf(promql string) (selector string, window time.Duration, ok bool) {
	parts := rawSamples.FindStringSubmatch(promql)
	if parts == nil {
		return "", 0, false
	}
	seconds, err := strconv.ParseInt(parts[2], 10, 32)
	return parts[1], time.Duration(seconds) * time.Second, err == nil
}

func (p *Past) window(ctx context.Context, selector string, from, to time.Time) (model.Matrix, error) {
	known := p.samples[selector]
	if known != nil && p.server == nil {
		from = later(from, known.from.Add(-rounding), known.from)
	}
	if known == nil || from.Before(known.from) || to.After(known.to) {
		if p.server == nil {
			return nil, failure.Configf("replaying: the recording lacks samples of %s up to %s, "+
				"want one that was made with the same reporter, split, latency-objective "+
				"and request-duration", selector, clockTime(to))
		}
		var err error
		if known, err = p.read(ctx, selector, known, from, to); err != nil {
			return nil, err
		}
	}
	return within(known.matrix, moment(from), moment(to)), nil
}

func (p *Past) read(ctx context.Context, selector string, known *samples, from, to time.Time) (*samples, error) {
	next := &samples{from: from, to: to}
	if known != nil {
		next.from = earlier(from, known.from)
		next.to = p.until
	}
	matrix, _, err := prometheus.Samples(ctx, p.server, selector, next.from, next.to)
	if err != nil {
		return nil, err
	}
	next.matrix = matrix
	p.samples[selector] = next
	return next, nil
}

// complete reads to the end of the past what was read beyond a time.
func (p *Past) complete(ctx context.Context, beyond time.Time) error {
	for _, selector := range slices.Sorted(maps.Keys(p.samples)) {
		known := p.samples[selector]
		if !known.to.After(beyond) || !known.to.Before(p.until) {
			continue
		}
		if _, err := p.read(ctx, selector, known, known.from, p.until); err != nil {
			return err
		}
	}
	return nil
}

// within are the samples after one time and up to another, as a range selector has them.
func within(m model.Matrix, from, to model.Time) model.Matrix {
	found := model.Matrix{}
	for _, s := range m {
		begin, end := span(len(s.Values), func(i int) model.Time { return s.Values[i].Timestamp }, from, to)
		first, last := span(len(s.Histograms), func(i int) model.Time { return s.Histograms[i].Timestamp }, from, to)
		if begin < end || first < last {
			// Without room to grow: who appends must not write over what comes after.
			found = append(found, &model.SampleStream{Metric: s.Metric,
				Values: s.Values[begin:end:end], Histograms: s.Histograms[first:last:last]})
		}
	}
	return found
}

func span(n int, at func(int) model.Time, from, to model.Time) (begin, end int) {
	begin = sort.Search(n, func(i int) bool { return at(i) > from })
	end = sort.Search(n, func(i int) bool { return at(i) > to })
	return begin, max(begin, end)
}

// moment is a time as Prometheus knows it.
func moment(t time.Time) model.Time { return model.TimeFromUnixNano(t.UnixNano()) }

// rounding is what a range may reach back too far for being written in them.
const rounding = time.Second

// later is a time, or another if it lies between some limit and that.
func later(t, limit, other time.Time) time.Time {
	if t.Before(other) && !t.Before(limit) {
		return other
	}
	return t
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func clockTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
