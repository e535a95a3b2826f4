package failure_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestCode(t *testing.T) {
	away := errors.New("connection refused")
	cases := map[string]struct {
		err  error
		code int
		text string
	}{
		"done":         {nil, failure.ExitOK, "<nil>"},
		"error":        {away, failure.ExitError, "connection refused"},
		"config":       {failure.Configf("weight %d", 101), failure.ExitConfig, "weight 101"},
		"rejected":     {failure.Rejectedf("worse: %w", away), failure.ExitRejected, "worse: connection refused"},
		"inconclusive": {failure.Inconclusivef("thin"), failure.ExitInconclusive, "thin"},
		"wrapped":      {fmt.Errorf("judging: %w", failure.Rejectedf("worse")), failure.ExitRejected, "judging: worse"},
		"marked":       {failure.As(failure.ErrConfig, away), failure.ExitConfig, "connection refused"},
		"nothing":      {failure.As(failure.ErrConfig, nil), failure.ExitOK, "<nil>"},
		"config before rejected": {
			errors.Join(failure.Rejectedf("worse"), failure.Configf("weight")), failure.ExitConfig, "worse\nweight",
		},
		"rejected before inconclusive": {
			errors.Join(failure.Inconclusivef("thin"), failure.Rejectedf("worse")), failure.ExitRejected, "thin\nworse",
		},
		"told, not wrapped": {fmt.Errorf("%w; undoing: %v", away, failure.Configf("weight")), failure.ExitError,
			"connection refused; undoing: weight"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := failure.Code(c.err); got != c.code {
				t.Errorf("exit code %d, want %d", got, c.code)
			}
			if got := fmt.Sprint(c.err); got != c.text {
				t.Errorf("text %q, want %q", got, c.text)
			}
		})
	}
}

// TestCause looks behind the kind.
func TestCause(t *testing.T) {
	away := errors.New("connection refused")
	err := failure.As(failure.ErrConfig, fmt.Errorf("reading: %w", away))
	if !errors.Is(err, away) || !errors.Is(err, failure.ErrConfig) || errors.Is(err, failure.ErrRejected) {
		t.Errorf("error %v, want it to be its cause and of its kind alone", err)
	}
}
