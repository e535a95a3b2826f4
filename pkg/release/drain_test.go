package release_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// TestDrainEndsAtItsDeadline has no Prometheus that could tell earlier.
func TestDrainEndsAtItsDeadline(t *testing.T) {
	r := releasetest.Bare(t).Run("second")
	var s release.Settling
	must(t, parameter.Decode(t.Context(), map[string]string{"drain": "1s", "drain-deadline": "3s",
		"prometheus-url": "http://127.0.0.1:1"}, &s))
	must(t, s.Observe(r))
	begin := time.Now()
	must(t, r.Drain(t.Context()))
	if took := time.Since(begin); took < 3*time.Second || took > 30*time.Second {
		t.Errorf("drained for %s, want 3 s, and not the minute that is the default", took)
	}
}

func TestDrainDeadlineIsAfterTheDrain(t *testing.T) {
	s := release.Settling{Drain: parameter.Duration(time.Minute), DrainDeadline: parameter.Span(30 * time.Second),
		Prometheus: prometheus.Config{URL: "http://127.0.0.1:1"}}
	err := s.Observe(&release.Release{})
	if !errors.Is(err, failure.ErrConfig) ||
		!strings.Contains(err.Error(), "drain-deadline: 30s, want at least drain, 1m0s") {
		t.Errorf("error %v, want both named", err)
	}
}
