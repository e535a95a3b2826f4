package parameter

import (
	"fmt"
	"time"
)

// Duration is a parameter: a time above zero, such as 90s or 1m.
type Duration time.Duration

// EnvDecode reads a duration with its unit.
func (d *Duration) EnvDecode(text string) error {
	t, err := time.ParseDuration(text)
	if err != nil || t <= 0 {
		return fmt.Errorf("%q, want a duration above zero such as 120s", text)
	}
	*d = Duration(t)
	return nil
}

// Span is a parameter: a time that may be nothing, such as 0s or 2m.
type Span time.Duration

// EnvDecode reads a duration with its unit; an empty text leaves it as it is.
func (s *Span) EnvDecode(text string) error {
	if text == "" {
		return nil
	}
	t, err := time.ParseDuration(text)
	if err != nil || t < 0 {
		return fmt.Errorf("%q, want a duration such as 120s", text)
	}
	*s = Span(t)
	return nil
}
