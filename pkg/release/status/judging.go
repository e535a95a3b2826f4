package status

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logfmt/logfmt"

	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// Judging is how far the judging of a stage is, as the log of its step tells. Requests are counted from the first
// weight of the run on.
type Judging struct {
	Task  string    `json:"task"`
	At    time.Time `json:"at,omitzero"`
	Judge string    `json:"judge,omitempty"`
	State string    `json:"state,omitempty"` // of the evidence, or of the last check, in a word
	Evidence
	Slow []Slow `json:"slow,omitempty"` // for each duration that is judged

	// What the sequential judge goes by.
	Gate        string        `json:"gate,omitempty"`
	MinDwell    time.Duration `json:"-"`
	TimeBox     time.Duration `json:"-"`
	Deadline    time.Duration `json:"-"`
	BlameLimit  float64       `json:"blameLimit,omitempty"`
	AcquitLimit float64       `json:"acquitLimit,omitempty"`

	// What the classic judge goes by.
	Check     int    `json:"check,omitempty"`
	Checks    int    `json:"checks,omitempty"`
	Failed    int    `json:"failed,omitempty"`
	Threshold int    `json:"threshold,omitempty"`
	Text      string `json:"text,omitempty"` // of the last check
}

// Slow is how many requests took longer than a duration.
type Slow struct {
	Ms      float64 `json:"ms"`
	Canary  float64 `json:"canary"`
	Primary float64 `json:"primary"`
}

func (j Judging) clone() Judging {
	j.Slow = slices.Clone(j.Slow)
	return j
}

// P99 is a bound of the duration that one request in a hundred exceeds: the lowest that holds, or else the highest,
// which it exceeds. There is none without requests, or where durations are not judged.
func (j Judging) P99(arm func(Slow) float64, requests float64) (ms float64, within, known bool) {
	if requests == 0 || len(j.Slow) == 0 {
		return 0, false, false
	}
	for _, s := range j.Slow {
		if arm(s) <= requests/100 {
			return s.Ms, true, true
		}
	}
	return j.Slow[len(j.Slow)-1].Ms, false, true
}

// read takes over what a line tells, and says whether that is anything.
func (j *Judging) read(line string) bool {
	d := logfmt.NewDecoder(strings.NewReader(line))
	fields := fields{}
	for d.ScanRecord() {
		for d.ScanKeyval() {
			fields[string(d.Key())] = string(d.Value())
		}
	}
	if d.Err() != nil {
		return false // the last words of a program that crashed
	}
	switch fields["msg"] {
	case "judging begins":
		j.begin(fields)
	case "cell closed":
		j.cell(fields)
	case "check done":
		j.check(fields)
	default:
		return false
	}
	return true
}

// fields are those of a line.
type fields map[string]string

func (f fields) number(name string) float64 {
	n, _ := strconv.ParseFloat(f[name], 64)
	return n
}

func (f fields) duration(name string) time.Duration {
	d, _ := time.ParseDuration(f[name])
	return d
}

func (f fields) time(name string) time.Time {
	t, _ := time.Parse(time.RFC3339, f[name])
	return t
}

// numbers are those that commas separate.
func (f fields) numbers(name string) []float64 {
	var all []float64
	for text := range strings.SplitSeq(f[name], ",") {
		n, _ := strconv.ParseFloat(text, 64)
		all = append(all, n)
	}
	return all
}

func (j *Judging) begin(f fields) {
	j.At, j.Judge, j.Weight = f.time("time"), f["judge"], int(f.number("weight"))
	j.Gate, j.MinDwell, j.TimeBox, j.Deadline = f["gate"], f.duration("min-dwell"), f.duration("time-box"),
		f.duration("deadline")
	j.BlameLimit, j.AcquitLimit = f.number("blame-limit"), f.number("acquit-limit")
	j.Checks, j.Threshold = int(f.number("checks")), int(f.number("threshold"))
	if j.Judge == verdict.Classic { // whose last check is the one that can pass it
		j.TimeBox = time.Duration(j.Checks) * f.duration("interval")
	}
}

// cell adds what an interval has counted.
func (j *Judging) cell(f fields) {
	j.At, j.State = f.time("end"), f["state"]
	j.Canary[0], j.Canary[1] = j.Canary[0]+f.number("bad"), j.Canary[1]+f.number("requests")
	j.Primary[0] += f.number("primary-bad")
	j.Primary[1] += f.number("primary-requests")
	j.Blame = max(f.number("blame"), f.number("latency-blame"))
	j.Acquit = f.number("acquit")
	if f["latency-acquit"] != "" {
		j.Acquit = min(j.Acquit, f.number("latency-acquit"))
	}
	if f["bounds"] == "" {
		return
	}
	bounds, slow, primary := f.numbers("bounds"), f.numbers("slow"), f.numbers("primary-slow")
	if len(bounds) != len(slow) || len(bounds) != len(primary) {
		return
	}
	for i, ms := range bounds {
		at, known := slices.BinarySearchFunc(j.Slow, ms, func(s Slow, ms float64) int { return cmp.Compare(s.Ms, ms) })
		if !known {
			j.Slow = slices.Insert(j.Slow, at, Slow{Ms: ms})
		}
		j.Slow[at].Canary += slow[i]
		j.Slow[at].Primary += primary[i]
	}
}

func (j *Judging) check(f fields) {
	j.At, j.Check, j.Failed = f.time("at"), int(f.number("check")), int(f.number("failed"))
	if j.Judge == verdict.Classic {
		j.State = f["outcome"]
	}
	var texts []string
	for name, text := range f {
		if strings.HasPrefix(text, name+" ") { // a metric's own words
			texts = append(texts, text)
		}
	}
	slices.Sort(texts)
	j.Text = strings.Join(texts, "; ")
}
