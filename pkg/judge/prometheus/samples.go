package prometheus

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// piece is the longest window that is read at once.
const piece = time.Hour

// evaluator is all that reading samples asks.
type evaluator interface {
	Query(context.Context, string, time.Time) (model.Value, error)
}

// Samples reads the raw samples of all series that a selector matches, after one time and up to another,
// and says with which queries. Functions such as rate would leave out the first value of each series and
// make up others. Longer windows are read in pieces of an hour, oldest first. Prometheus before version 3
// includes the earlier end of a window: whoever counts looks at the times.
func Samples(ctx context.Context, q evaluator, selector string, from, to time.Time) (model.Matrix, []string, error) {
	var all model.Matrix
	var queries []string
	known := map[model.Fingerprint]*model.SampleStream{}
	for from.Before(to) {
		end := from.Add(piece)
		if end.After(to) {
			end = to
		}
		query := selector + seconds(end.Sub(from))
		queries = append(queries, query)
		read, err := matrix(ctx, q, query, end)
		if err != nil {
			return nil, queries, err
		}
		all = joined(all, known, read)
		from = end
	}
	return all, queries, nil
}

func matrix(ctx context.Context, q evaluator, query string, at time.Time) (model.Matrix, error) {
	value, err := q.Query(ctx, query, at)
	if err != nil {
		return nil, err
	}
	read, ok := value.(model.Matrix)
	if !ok {
		return nil, failure.Configf("querying %s: a %s, want raw samples: is this Prometheus?", query, value.Type())
	}
	return read, nil
}

// joined appends what was read to the series that are known; a sample at a seam is in both.
func joined(all model.Matrix, known map[model.Fingerprint]*model.SampleStream, read model.Matrix) model.Matrix {
	if len(all) == 0 {
		return read
	}
	if len(known) == 0 {
		for _, s := range all {
			known[s.Metric.Fingerprint()] = s
		}
	}
	for _, s := range read {
		before, ok := known[s.Metric.Fingerprint()]
		if !ok {
			known[s.Metric.Fingerprint()] = s
			all = append(all, s)
			continue
		}
		values := s.Values
		if n := len(before.Values); n > 0 {
			for len(values) > 0 && !values[0].Timestamp.After(before.Values[n-1].Timestamp) {
				values = values[1:]
			}
		}
		before.Values = append(before.Values, values...)
		before.Histograms = append(before.Histograms, s.Histograms...)
	}
	return all
}

// seconds is a window in whole seconds, rounded up.
func seconds(d time.Duration) string {
	return "[" + strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10) + "s]"
}

// Anchored matches series whose label matches a regular expression as it is.
func Anchored(label, regex string) string { return label + "=~" + quote(regex) }
