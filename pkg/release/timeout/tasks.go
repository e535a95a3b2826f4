package timeout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tasks are the time-outs of a run's tasks, as a parameter:
// prepare=7m30s,stage=11m30s,prove=16m30s,promote=5m,finish=6m. One that is 0 is not known; prove is the last stage's.
type Tasks struct{ Prepare, Stage, Prove, Promote, Finish, Release time.Duration }

// named is one of them.
type named struct {
	name string
	of   *time.Duration
}

func (t *Tasks) all() []named {
	return []named{{"prepare", &t.Prepare}, {"stage", &t.Stage}, {"prove", &t.Prove},
		{"promote", &t.Promote}, {"release", &t.Release},
		{"finish", &t.Finish}}
}

// String is the parameter.
func (t Tasks) String() string {
	var all []string
	for _, n := range t.all() {
		if *n.of > 0 {
			all = append(all, n.name+"="+Short(*n.of))
		}
	}
	return strings.Join(all, ",")
}

// EnvDecode reads the parameter.
func (t *Tasks) EnvDecode(text string) error {
	*t = Tasks{}
	if text == "" {
		return nil
	}
	for item := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(item, "=")
		i := slices.IndexFunc(t.all(), func(n named) bool { return n.name == name })
		d, err := time.ParseDuration(value)
		if i < 0 || err != nil || d <= 0 {
			return fmt.Errorf("%q, want time-outs of prepare, stage, prove, promote, release and finish such as "+
				"prepare=7m30s,finish=6m", item)
		}
		*t.all()[i].of = d
	}
	return nil
}

// Short is a duration without zeros at its end.
func Short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
