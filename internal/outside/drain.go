package outside

import (
	"context"
	"fmt"
	"time"

	"github.com/serin-cd/serin/internal/parameters"
	"github.com/serin-cd/serin/pkg/release"
)

// Observe lets a release observe its drain in the Prometheus of its own run, with the run's parameters and those that
// are given above them; or wait as long as that may take, if it is not reached. It says which, and must be closed.
func (m Machine) Observe(ctx context.Context, r *release.Release, given map[string]string) (closed func(), how string) {
	s, source, err := m.settling(ctx, r, given)
	if err == nil {
		var reached *Reached
		if reached, err = m.Reach(ctx, s.Prometheus); err == nil {
			r.DrainWith(reached.Client, time.Duration(s.Drain), s.LongestDrain())
			return reached.Close, fmt.Sprintf("asking Prometheus at %s, as %s has it, %s", s.Prometheus.URL, source,
				reached.Way)
		}
	}
	r.DrainBlindly()
	return func() {}, fmt.Sprintf("waiting for %s, because Prometheus cannot tell: %s", release.DrainDeadline, err)
}

// settling are the parameters of the run. Files in its pods are none here.
func (m Machine) settling(ctx context.Context, r *release.Release,
	given map[string]string) (s release.Settling, source string, err error) {
	found, err := parameters.OfRun(ctx, m.Cluster, r.App, r.ID.Name, "canary")
	if err != nil {
		return s, "", err
	}
	found = found.Outside()
	return s, found.Source(given), parameters.Decode(ctx, found, given, &s)
}
