package step

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Percent is a parameter: a whole number from 0 to 100.
type Percent int32

// EnvDecode reads a percent without a sign or a unit.
func (p *Percent) EnvDecode(text string) error {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 || n > 100 || text[0] == '+' {
		return fmt.Errorf("%q, want a whole number from 0 to 100", text)
	}
	*p = Percent(n)
	return nil
}

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

// Count is a parameter: a whole number of at least 1.
type Count int

// EnvDecode reads a count.
func (c *Count) EnvDecode(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > math.MaxInt32 {
		return fmt.Errorf("%q, want a whole number of at least 1", text)
	}
	*c = Count(n)
	return nil
}
