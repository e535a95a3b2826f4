package replay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"k8s.io/utils/clock"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/report/replay"
	"github.com/serin-cd/serin/pkg/task/failure"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // judges log every cell
	apitest.Main(m)
}

var noon = time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC)

const (
	oneStage   = `{"phases": [{"weight": 20, "at": "2025-11-23T12:00:00Z"}]}`
	stagesTo40 = `{"phases": [{"weight": 20, "at": "2025-11-23T12:00:00Z"}], "ended": "2025-11-23T12:00:40Z"}`
	stages     = `{"phases": [{"weight": 20, "at": "2025-11-23T12:00:00Z"}, {"weight": 21, "at": "2025-11-23T12:02:06Z"}], "ended": "2025-11-23T12:05:00Z", "outcome": "promoted", "reason": "healthy"}`
)

func configOf(t *testing.T, parameters map[string]string) judge.Config {
	t.Helper()
	config, err := replay.ConfigOf(t.Context(), parameters)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// both judges what a server holds.
func both(t *testing.T, p *replay.Past, r replay.Rollout, parameters map[string]string) replay.Result {
	t.Helper()
	result, err := replay.Both(t.Context(), p, r, configOf(t, parameters))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func endOf(t *testing.T, r replay.Rollout, parameters map[string]string) time.Time {
	t.Helper()
	until, err := r.Until(configOf(t, parameters))
	if err != nil {
		t.Fatal(err)
	}
	return until
}

func texts(t *testing.T, r replay.Result) (table, object string) {
	t.Helper()
	var asTable, asJSON bytes.Buffer
	if err := r.Table(&asTable); err != nil {
		t.Fatal(err)
	}
	if err := r.JSON(&asJSON); err != nil {
		t.Fatal(err)
	}
	return asTable.String(), asJSON.String()
}

// cases are rollouts, and what both judges would have made of them.
var cases = map[string]struct {
	app, rollout        string
	parameters          map[string]string
	sequential, classic string
	golden              bool
}{
	"healthy": {"healthy", stages, nil, "pass healthy after 2m56s, 0 of 1800",
		"pass healthy after 3m11s, 0 of 1950", false},
	"bad": {"bad", stages, map[string]string{"threshold": "2"}, "fail worse after 6.2s, 5 of 100",
		"fail threshold after 2m5s, 62.5 of 1250", true},
	"broken": {"broken", oneStage, nil, "fail hard-failure after 1.2s, 50 of 50",
		"fail threshold after 1m5s, 650 of 650", true},
	"slow": {"slow", oneStage, map[string]string{"warm-up": "10s"}, "fail slower after 16.2s, 0 of 200",
		"pass healthy after 1m5s, 0 of 650", false},
	"thin": {"thin", oneStage, map[string]string{"latency": "off", "weight-check": "off", "gate": "time-box"},
		"pass time-box after 2m0s, 0 of 48", "pass healthy after 1m5s, 0 of 26", false},
	"idle": {"idle", oneStage, map[string]string{"no-values": "inconclusive", "deadline": "200s"},
		"inconclusive no-traffic after 3m20s, 0 of 0", "inconclusive no-values after 1m5s, 0 of 0", false},
	"limits": {"bad", stages, map[string]string{"success-rate": "99", "alpha": "0.0000001", "interval": "30s"},
		"fail worse after 31.2s, 17.5 of 350", "fail threshold after 35s, 17.5 of 350", false},
	"undecided": {"thin", stagesTo40, nil, "inconclusive undecided after 42s, 0 of 18",
		"inconclusive undecided after 42s, 0 of 18", true},
}

func TestReplayOfARecordingIsThatOfItsServer(t *testing.T) {
	client := shop(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := rolloutOf(t, c.app, c.rollout)
			until := endOf(t, r, c.parameters)
			live := both(t, replay.New(client, until), r, c.parameters)
			table, object := texts(t, live)
			judged(t, object, c.sequential, c.classic)
			if c.golden {
				golden(t, name+".txt", table)
			}
			recording := recorded(t, replay.New(client, until), r, c.parameters)
			if name == "bad" && *update {
				recording.Recorded, recording.Parameters = noon.Add(time.Hour), c.parameters
				if err := recording.Write("testdata/version-1.json.gz"); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range []string{"recording.json", "recording.json.gz"} {
				again := both(t, again(t, recording, file), recording.Rollout(), c.parameters)
				if _, text := texts(t, again); text != object {
					t.Errorf("replay of %s (-server +recording):\n%s", file, cmp.Diff(object, text))
				}
			}
		})
	}
}

// The judge of the steps, asked as of the time of a verdict, comes to the same one from the server itself.
func TestVerdictsAreThoseOfTheSteps(t *testing.T) {
	client := shop(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := rolloutOf(t, c.app, c.rollout)
			for _, j := range both(t, replay.New(client, endOf(t, r, c.parameters)), r, c.parameters).Judges {
				for i, s := range j.Stages {
					config := configOf(t, c.parameters)
					config.Judge, config.AsOf = j.Judge, s.Verdict.At.Format(time.RFC3339Nano)
					if config.Sequential.Gate == "" {
						config.Sequential.Gate = map[bool]string{true: "prove", false: "time-box"}[i == len(r.Stages)-1]
					}
					j, err := judge.New(config, r.Target)
					if err != nil {
						t.Fatal(err)
					}
					v, err := j.Judge(t.Context(), client, clock.RealClock{}, r.Stages[:i+1], nil)
					if err != nil {
						t.Fatal(err)
					}
					if v.Reason() != s.Verdict.Reason() || v.Evidence() != s.Verdict.Evidence() {
						t.Errorf("judge %s at phase %d: %q, %s, want %q, %s", config.Judge, i+1, s.Verdict.Reason(),
							s.Verdict.Evidence(), v.Reason(), v.Evidence())
					}
				}
			}
		})
	}
}

func TestARecordingAnswersOtherParameters(t *testing.T) {
	client := shop(t)
	cases := map[string]struct {
		app        string
		parameters map[string]string
	}{
		"patience": {"bad", map[string]string{"threshold": "5", "checks": "2", "alpha": "0.0000001",
			"deadline": "250s"}},
		"tolerance": {"bad", map[string]string{"tolerance": "0.1", "margin": "0.2"}},
		"bounds":    {"slow", map[string]string{"request-duration": "100", "warm-up": "0s"}},
		"codes":     {"bad", map[string]string{"error-codes": "404"}},
		"latency":   {"slow", map[string]string{"latency": "off", "beta": "0.0001"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := rolloutOf(t, c.app, stages)
			until := endOf(t, r, nil)
			_, want := texts(t, both(t, replay.New(client, until), r, c.parameters))
			recording := recorded(t, replay.New(client, until), r, nil)
			if _, got := texts(t, both(t, again(t, recording, "r.json"), r, c.parameters)); got != want {
				t.Errorf("(-server +recording):\n%s", cmp.Diff(want, got))
			}
		})
	}
}

func TestARecordingLacksWhatNobodyAsked(t *testing.T) {
	client := shop(t)
	r := rolloutOf(t, "slow", stages)
	p := again(t, recorded(t, replay.New(client, endOf(t, r, nil)), r, nil), "r.json")
	cases := map[string]struct{ name, value, text string }{
		"interval": {"interval", "45s",
			"replaying with judge classic: judging slow: measuring request-success-rate: replaying: the recording " +
				"has no " +
				"answer to sum(rate(istio_requests_total{"},
		"reporter": {"reporter", "waypoint",
			"replaying with judge sequential: judging slow: replaying: the recording lacks samples of " +
				"istio_requests_total{reporter=\"waypoint\""},
		"objective": {"latency-objective", "450",
			"replaying with judge sequential: judging slow: replaying: the recording lacks samples of " +
				"istio_request_duration_milliseconds_bucket{"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := replay.Both(t.Context(), p, r, configOf(t, map[string]string{c.name: c.value}))
			if err == nil || !strings.HasPrefix(err.Error(), c.text) || failure.Code(err) != failure.ExitConfig {
				t.Errorf("error %v, want %q", err, c.text)
			}
		})
	}
}

func TestAPastIsReadInAFewQueries(t *testing.T) {
	client := shop(t)
	r := rolloutOf(t, "healthy", `{"phases": [{"weight": 20, "at": "2025-11-23T12:00:00Z"}]}`)
	counter := &counting{Client: client}
	both(t, replay.New(counter, endOf(t, r, nil)), r, map[string]string{"min-dwell": "880s"})
	if counter.queries > 16 {
		t.Errorf("%d queries, want at most 16", counter.queries)
	}
}

type counting struct {
	*prometheus.Client
	queries int
}

func (c *counting) Query(ctx context.Context, promql string, at time.Time) (model.Value, error) {
	c.queries++
	return c.Client.Query(ctx, promql, at)
}

func TestRolloutsThatCannotBeReplayed(t *testing.T) {
	cases := map[string]struct{ rollout, text string }{
		"no JSON":   {"{", "reading rollout: unexpected end of JSON input, want a JSON object with phases"},
		"no phases": {"{}", "reading rollout: 0 phases, want at least 1"},
		"no weight": {`{"phases": [{"weight": 0, "at": "2025-11-23T12:00:00Z"}]}`,
			"replaying reviews: the canary had no traffic in any phase, want a weight above 0"},
		"all at one": {`{"phases": [{"weight": 100, "at": "2025-11-23T12:00:00Z"}]}`,
			"replaying reviews: weight 100 leaves no primary to compare with"},
		"ended": {`{"phases": [{"weight": 20, "at": "2025-11-23T12:00:00Z"}], "ended": "noon"}`, "reading rollout: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := replay.ParseRollout(c.rollout, judge.Target{Namespace: "shop", Canary: "reviews",
				Primary: "reviews-primary"})
			if err == nil || !strings.HasPrefix(err.Error(), c.text) || failure.Code(err) != failure.ExitConfig {
				t.Errorf("error %v, want %q", err, c.text)
			}
		})
	}
}

// A run that was taken back had its weight lowered before it was closed, and one may begin at 0.
func TestStagesWithoutTrafficAreLeftOut(t *testing.T) {
	r := rolloutOf(t, "reviews",
		`{"phases": [{"weight": 0, "at": "2025-11-23T11:59:00Z"}, {"weight": 20, "at": "2025-11-23T12:00:00Z"}, {"weight": 0, "at": "2025-11-23T12:03:00Z"}], "ended": "2025-11-23T12:05:00Z"}`)
	if len(r.Stages) != 1 || r.Stages[0].Weight != 20 || !r.Ended.Equal(noon.Add(3*time.Minute)) {
		t.Errorf("stages %v, ended %s", r.Stages, r.Ended)
	}
}

func judged(t *testing.T, object string, want ...string) {
	t.Helper()
	var out replay.Result
	if err := json.Unmarshal([]byte(object), &out); err != nil {
		t.Fatal(err)
	}
	for i, j := range out.Judges {
		got := fmt.Sprintf("%s %s after %s, %v of %v", j.Decision, j.Code, time.Duration(j.After*float64(time.Second)),
			j.Answered[0], j.Answered[1])
		if got != want[i] {
			t.Errorf("judge %s: %s, want %s", j.Judge, got, want[i])
		}
	}
}

func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
