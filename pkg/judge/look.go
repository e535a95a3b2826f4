package judge

import (
	"context"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/counting"
)

// Seen is what is known of a primary before its canary.
type Seen struct {
	History map[counting.Reporter]counting.History // of each reporter that may count
	By      counting.Reporter                      // that is believed, or would be if it had counted
	Series  []model.Metric                         // of that reporter
	Query   string                                 // that they answer
}

// Look reads the last ten minutes of the primary, as the sequential judge does before its first check.
func (j *Judge) Look(ctx context.Context, q querier) (Seen, error) {
	now, err := q.Now(ctx)
	if err != nil {
		return Seen{}, err
	}
	r := newReading(j, q, now)
	if err := r.probe(ctx); err != nil {
		return Seen{}, err
	}
	s := Seen{History: r.history}
	for _, s.By = range r.candidates() {
		s.Query = r.selection(s.By).Requests()
		value, err := q.Query(ctx, s.Query, now)
		if err != nil {
			return s, err
		}
		all, _ := value.(model.Vector)
		for _, sample := range all {
			s.Series = append(s.Series, sample.Metric)
		}
		if len(all) > 0 {
			break
		}
	}
	return s, nil
}
