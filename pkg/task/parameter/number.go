package parameter

import (
	"fmt"
	"math"
	"strconv"
)

// Weight is the canary's share of the traffic, in percent, from 0 to 100.
type Weight int32

// EnvDecode reads a whole number without a sign or a unit.
func (w *Weight) EnvDecode(text string) error {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 || n > 100 || text[0] == '+' {
		return fmt.Errorf("%q, want a whole number from 0 to 100", text)
	}
	*w = Weight(n)
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

// Port is a parameter: the number of a port. Zero is one that was not given.
type Port int32

// EnvDecode reads a port; an empty text leaves it as it is.
func (p *Port) EnvDecode(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%q, want a port from 1 to 65535", text)
	}
	*p = Port(n)
	return nil
}

// Pods is a parameter: a number of pods of at least 1. Zero is one that was not given.
type Pods int32

// EnvDecode reads a number of pods; an empty text leaves it as it is.
func (p *Pods) EnvDecode(text string) error {
	if text == "" {
		return nil
	}
	var n Count
	err := n.EnvDecode(text)
	*p = Pods(n)
	return err
}

// String is the number, or that there is none.
func (p Pods) String() string {
	if p == 0 {
		return "not set"
	}
	return strconv.Itoa(int(p))
}

// Rate is a parameter in percent, with decimals.
type Rate float64

// EnvDecode reads a number without a unit; an empty text leaves it as it is.
func (r *Rate) EnvDecode(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n <= 100) {
		return fmt.Errorf("%q, want a number from 0 to 100 such as 99", text)
	}
	*r = Rate(n)
	return nil
}

// Milliseconds is a parameter above zero.
type Milliseconds float64

// EnvDecode reads a number without a unit; an empty text leaves it as it is.
func (m *Milliseconds) EnvDecode(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n > 0) || math.IsInf(n, 0) {
		return fmt.Errorf("%q, want milliseconds above zero such as 1000", text)
	}
	*m = Milliseconds(n)
	return nil
}

// Fraction is a parameter without a percent sign.
type Fraction float64

// EnvDecode reads a number from 0 to 1.
func (f *Fraction) EnvDecode(text string) error {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n <= 1) {
		return fmt.Errorf("%q, want a fraction such as 0.001", text)
	}
	*f = Fraction(n)
	return nil
}

// Factor is a parameter of at least 1.
type Factor float64

// EnvDecode reads a number without a unit.
func (f *Factor) EnvDecode(text string) error {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 1) || math.IsInf(n, 0) {
		return fmt.Errorf("%q, want a number of at least 1", text)
	}
	*f = Factor(n)
	return nil
}
