package replay

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

const (
	version = 1
	// longest is what a recording may hold once it is unpacked.
	longest = 1 << 30
)

// Recording is a rollout, and all that both judges asked about it. It holds neither the address of Prometheus
// nor what it was asked with.
type Recording struct {
	Version    int               `json:"version"`
	Recorded   time.Time         `json:"recorded"`
	Target     judge.Target      `json:"target"`
	Stages     []run.Stage       `json:"phases"`
	Until      time.Time         `json:"until"`
	Ended      time.Time         `json:"ended,omitzero"`
	Outcome    string            `json:"outcome,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Parameters map[string]string `json:"parameters"` // that were not left to their defaults
	Samples    []Samples         `json:"samples"`
	Answers    []Answer          `json:"answers"`
}

// Samples are the raw ones of a selector, after one time and up to another.
type Samples struct {
	Selector string       `json:"selector"`
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"`
	Series   model.Matrix `json:"series"`
}

// Answer is what an expression was at an instant.
type Answer struct {
	Query  string          `json:"query"`
	At     model.Time      `json:"at"`
	Type   model.ValueType `json:"type"`
	Result json.RawMessage `json:"result"`
}

// Record asks all that the judges ask, and what they would ask if other bounds and budgets let them go on to
// the end: every check of the rollout, and every sample.
func Record(ctx context.Context, p *Past, r Rollout, config judge.Config) (*Recording, error) {
	result, err := Both(ctx, p, r, config)
	if err != nil {
		return nil, err
	}
	if err := p.complete(ctx, r.Stages[0].At); err != nil {
		return nil, err
	}
	if err := checks(ctx, p, r, config, r.Target); err != nil {
		return nil, err
	}
	if config.Metrics != "" || config.SuccessRate > 0 || config.RequestDuration > 0 {
		if err := limits(ctx, p, r, config, result.Judges[0].Verdict.Target.Reporter); err != nil {
			return nil, err
		}
	}
	return p.recording(r)
}

// checks does every check of the rollout.
func checks(ctx context.Context, p *Past, r Rollout, config judge.Config, target judge.Target) error {
	config = r.config(config, verdict.Classic, len(r.Stages)-1)
	config.Threshold, config.Checks, config.NoValues = math.MaxInt32, math.MaxInt32, "fail"
	_, err := live(ctx, p, config, target, r.Stages, p.until)
	if err == nil || !isOver(err) {
		return cmp.Or(err, fmt.Errorf("recording: the checks ended before the time to record did"))
	}
	return nil
}

// limits does those that the sequential judge can want of both arms, by the reporter that it believed.
func limits(ctx context.Context, p *Past, r Rollout, config judge.Config, reporter string) error {
	j, err := r.judge(config, verdict.Sequential, len(r.Stages)-1)
	if err != nil {
		return err
	}
	config.Reporter = cmp.Or(reporter, config.Reporter)
	canary := j.Target()
	primary := canary
	primary.Canary, primary.CanaryService = canary.Primary, canary.PrimaryService
	primary.Primary, primary.PrimaryService = canary.Canary, canary.CanaryService
	for _, target := range []judge.Target{canary, primary} {
		if err := checks(ctx, p, r, config, target); err != nil {
			return err
		}
	}
	return nil
}

func (p *Past) recording(r Rollout) (*Recording, error) {
	rec := &Recording{
		Version: version, Target: r.Target, Stages: r.Stages, Until: p.until.UTC(),
		Ended: r.Ended, Outcome: r.Outcome, Reason: r.Reason, Samples: []Samples{}, Answers: []Answer{},
	}
	for _, selector := range slices.Sorted(maps.Keys(p.samples)) {
		s := p.samples[selector]
		series := slices.Clone(s.matrix)
		slices.SortFunc(series, func(a, b *model.SampleStream) int {
			return strings.Compare(a.Metric.String(), b.Metric.String())
		})
		rec.Samples = append(rec.Samples, Samples{selector, s.from.UTC(), s.to.UTC(), series})
	}
	for key, value := range p.answers {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("recording the answer to %s: %w", key.query, err)
		}
		rec.Answers = append(rec.Answers, Answer{key.query, key.at, value.Type(), text})
	}
	slices.SortFunc(rec.Answers, func(a, b Answer) int {
		return cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.Query, b.Query))
	})
	return rec, nil
}

// Rollout is what was recorded.
func (rec *Recording) Rollout() Rollout {
	return Rollout{Target: rec.Target, Stages: rec.Stages,
		Ending: Ending{Outcome: rec.Outcome, Reason: rec.Reason, Ended: rec.Ended}}
}

// Past is what Prometheus held, up to the end of the recording or an earlier time.
func (rec *Recording) Past(until time.Time) (*Past, error) {
	p := New(nil, until)
	for _, s := range rec.Samples {
		p.samples[s.Selector] = &samples{s.From, s.To, s.Series}
	}
	for _, a := range rec.Answers {
		value, err := a.value()
		if err != nil {
			return nil, failure.Configf("reading the recording: the answer to %s at %s: %w",
				a.Query, clockTime(a.At.Time()), err)
		}
		p.answers[instant{a.Query, a.At}] = value
	}
	return p, nil
}

func (a Answer) value() (model.Value, error) {
	switch a.Type {
	case model.ValVector:
		var v model.Vector
		err := json.Unmarshal(a.Result, &v)
		return v, err
	case model.ValMatrix:
		var v model.Matrix
		err := json.Unmarshal(a.Result, &v)
		return v, err
	case model.ValScalar:
		v := &model.Scalar{}
		err := json.Unmarshal(a.Result, v)
		return v, err
	case model.ValString:
		v := &model.String{}
		err := json.Unmarshal(a.Result, v)
		return v, err
	}
	return nil, fmt.Errorf("type %q, want vector, matrix, scalar or string", a.Type)
}

// Write writes a recording to a file, packed where its name ends in .gz.
func (rec *Recording) Write(path string) error {
	text, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("writing recording %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return failure.Configf("writing recording %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // it has another name once it is whole
	defer f.Close()
	if err := pack(f, path, append(text, '\n')); err != nil {
		return fmt.Errorf("writing recording %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing recording %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("writing recording %s: %w", path, err)
	}
	return nil
}

func pack(w io.Writer, path string, text []byte) error {
	if !strings.HasSuffix(path, ".gz") {
		_, err := w.Write(text)
		return err
	}
	z := gzip.NewWriter(w)
	if _, err := z.Write(text); err != nil {
		return err
	}
	return z.Close()
}

// Read reads a recording.
func Read(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, failure.Configf("reading recording: %w", err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, failure.Configf("reading recording %s: %w, want a file that record has written", path, err)
		}
		r = z
	}
	rec := &Recording{}
	if err := json.NewDecoder(io.LimitReader(r, longest)).Decode(rec); err != nil {
		return nil, failure.Configf("reading recording %s: %w, want a file that record has written", path, err)
	}
	if rec.Version != version {
		return nil,
			failure.Configf("reading recording %s: version %d, want %d: use the version of tkn-canary that made it",
				path, rec.Version, version)
	}
	return rec, nil
}

// Size is how much a recording holds, for people.
func (rec *Recording) Size() string {
	series, values := 0, 0
	for _, s := range rec.Samples {
		series += len(s.Series)
		for _, stream := range s.Series {
			values += len(stream.Values) + len(stream.Histograms)
		}
	}
	return fmt.Sprintf("%d samples of %d series, %d answers", values, series, len(rec.Answers))
}
