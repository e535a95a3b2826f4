package parameter_test

import (
	"testing"

	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/task/parameter"
)

// decoding is what a type reads from texts, and what it says of others.
type decoding struct {
	reads   map[string]any
	refuses []string
	want    string // of the texts that it refuses
}

// decode reads a text into a new value of a type, and returns the value.
func decode[T any, P interface {
	*T
	envconfig.Decoder
}](text string) (any, error) {
	var value T
	err := P(&value).EnvDecode(text)
	return value, err
}

func TestTypes(t *testing.T) {
	const minute = 60e9
	cases := map[string]struct {
		decode func(string) (any, error)
		decoding
	}{
		"Weight": {decode[parameter.Weight], decoding{
			reads: map[string]any{
				"0":   parameter.Weight(0),
				"20":  parameter.Weight(20),
				"100": parameter.Weight(100),
			},
			refuses: []string{"", "-1", "+20", "101", "20%", "0.5", "4294967296", " 20"},
			want:    "want a whole number from 0 to 100",
		}},
		"Count": {decode[parameter.Count], decoding{
			reads: map[string]any{
				"1":          parameter.Count(1),
				"2147483647": parameter.Count(2147483647),
			},
			refuses: []string{"", "0", "-1", "1.5", "2147483648", "many"},
			want:    "want a whole number of at least 1",
		}},
		"Image": {decode[parameter.Image], decoding{
			reads: map[string]any{
				"":                          parameter.Image(""),
				"shop":                      parameter.Image("shop"),
				"example.com:5000/team/a:1": parameter.Image("example.com:5000/team/a:1"),
			},
			refuses: []string{"bad image", "Shop", "shop:", "shop:1 ", "https://example.com/shop"},
			want:    "want an image such as registry.example.com/shop:1.5.0",
		}},
		"Pods": {decode[parameter.Pods], decoding{
			reads: map[string]any{
				"":  parameter.Pods(0),
				"3": parameter.Pods(3),
			},
			refuses: []string{"0", "-1", "1.5", "2147483648", "many"},
			want:    "want a whole number of at least 1",
		}},
		"Duration": {decode[parameter.Duration], decoding{
			reads: map[string]any{
				"60s":   parameter.Duration(minute),
				"1m":    parameter.Duration(minute),
				"1h30m": parameter.Duration(90 * minute),
			},
			refuses: []string{"", "0s", "-1s", "60", "1d", "soon"},
			want:    "want a duration above zero such as 120s",
		}},
		"Span": {decode[parameter.Span], decoding{
			reads: map[string]any{
				"":   parameter.Span(0),
				"0s": parameter.Span(0),
				"2m": parameter.Span(2 * minute),
			},
			refuses: []string{"-1s", "60", "1d"},
			want:    "want a duration such as 120s",
		}},
		"Rate": {decode[parameter.Rate], decoding{
			reads: map[string]any{
				"":     parameter.Rate(0),
				"0":    parameter.Rate(0),
				"99.5": parameter.Rate(99.5),
				"100":  parameter.Rate(100),
			},
			refuses: []string{"-0.1", "100.1", "99%", "NaN", "Inf"},
			want:    "want a number from 0 to 100 such as 99",
		}},
		"Milliseconds": {decode[parameter.Milliseconds], decoding{
			reads: map[string]any{
				"":     parameter.Milliseconds(0),
				"1000": parameter.Milliseconds(1000),
				"0.5":  parameter.Milliseconds(0.5),
			},
			refuses: []string{"0", "-1", "1s", "NaN", "Inf"},
			want:    "want milliseconds above zero such as 1000",
		}},
		"Fraction": {decode[parameter.Fraction], decoding{
			reads: map[string]any{
				"0":     parameter.Fraction(0),
				"0.001": parameter.Fraction(0.001),
				"1":     parameter.Fraction(1),
			},
			refuses: []string{"", "-0.1", "1.1", "1%", "NaN", "Inf"},
			want:    "want a fraction such as 0.001",
		}},
		"Factor": {decode[parameter.Factor], decoding{
			reads: map[string]any{
				"1":   parameter.Factor(1),
				"2.5": parameter.Factor(2.5),
			},
			refuses: []string{"", "0.9", "-1", "two", "NaN", "Inf"},
			want:    "want a number of at least 1",
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for text, want := range c.reads {
				if got, err := c.decode(text); err != nil || got != want {
					t.Errorf("%q reads as %v (%v), want %v", text, got, err, want)
				}
			}
			for _, text := range c.refuses {
				_, err := c.decode(text)
				if want := `"` + text + `", ` + c.want; err == nil || err.Error() != want {
					t.Errorf("%q: error %v, want %s", text, err, want)
				}
			}
		})
	}
}

// TestRefusedLeavesTheValue has a default that a bad text must not change.
func TestRefusedLeavesTheValue(t *testing.T) {
	weight, span := parameter.Weight(20), parameter.Span(3)
	if err := weight.EnvDecode("120"); err == nil || weight != 20 {
		t.Errorf("weight %d (%v), want it refused and 20 as before", weight, err)
	}
	if err := span.EnvDecode(""); err != nil || span != 3 {
		t.Errorf("span %d (%v) after an empty text, want 3 as before", span, err)
	}
}
