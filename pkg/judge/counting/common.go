package counting

import (
	"math"

	"github.com/prometheus/common/model"
)

// common finds the bounds that all of some histograms have.
type common struct{ of map[string]map[float64]bool } // by histogram

func newCommon() common { return common{map[string]map[float64]bool{}} }

func (c common) add(s *series) {
	if c.of[s.family] == nil {
		c.of[s.family] = map[float64]bool{}
	}
	if !math.IsInf(s.le, 1) {
		c.of[s.family][s.le] = true
	}
}

// bounds are the ones in common, none where there is no histogram.
func (c common) bounds() map[float64]bool {
	var shared map[float64]bool
	for _, has := range c.of {
		if shared == nil {
			shared = map[float64]bool{}
			for le := range has {
				shared[le] = true
			}
		}
		for le := range shared {
			if !has[le] {
				delete(shared, le)
			}
		}
	}
	return shared
}

// Common are the bounds, in milliseconds, that the histograms of both arms have which counted in a window.
func (r Reader) Common(m model.Matrix, w Window) (map[float64]bool, error) {
	a, err := r.answer(m, w)
	if err != nil {
		return nil, err
	}
	c := newCommon()
	for _, s := range a.list {
		if s.metric[model.BucketLabel] != "" && s.samples[len(s.samples)-1].Timestamp > moment(w.Start) {
			c.add(s)
		}
	}
	return c.bounds(), nil
}
