package step_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Run struct {
		Name string `env:"NAME, required"`
	} `env:", prefix=RUN_"`
	CanaryWeight parameter.Weight   `env:"CANARY_WEIGHT, required"`
	Interval     parameter.Duration `env:"INTERVAL, default=1m"`
	Threshold    parameter.Count    `env:"THRESHOLD, default=5"`
}

func TestRunReadsParameters(t *testing.T) {
	cases := map[string]struct {
		env  map[string]string
		code int
		text string
	}{
		"all": {env: map[string]string{"RUN_NAME": "r", "PARAM_CANARY_WEIGHT": "20",
			"PARAM_INTERVAL": "15s"}},
		"no weight": {env: map[string]string{"RUN_NAME": "r"}, code: 2,
			text: "reading canary-weight: no value, want one"},
		"empty weight": {env: map[string]string{"RUN_NAME": "r", "PARAM_CANARY_WEIGHT": ""}, code: 2,
			text: "reading canary-weight: no value, want one"},
		"percent sign": {env: map[string]string{"RUN_NAME": "r", "PARAM_CANARY_WEIGHT": "20%"}, code: 2,
			text: `reading canary-weight: "20%", want a whole number from 0 to 100`},
		"above 100": {env: map[string]string{"RUN_NAME": "r", "PARAM_CANARY_WEIGHT": "101"}, code: 2,
			text: `"101", want`},
		"negative": {env: map[string]string{"RUN_NAME": "r", "PARAM_CANARY_WEIGHT": "-1"}, code: 2,
			text: `"-1", want`},
		"no interval": {env: map[string]string{"RUN_NAME": "r", "PARAM_CANARY_WEIGHT": "1", "PARAM_INTERVAL": "0s"},
			code: 2, text: `reading interval: "0s", want a duration above zero`},
		"unit missing": {env: map[string]string{"RUN_NAME": "r", "PARAM_CANARY_WEIGHT": "1", "PARAM_INTERVAL": "60"},
			code: 2, text: `reading interval: "60", want`},
		"no threshold": {env: map[string]string{"RUN_NAME": "r", "PARAM_CANARY_WEIGHT": "1", "PARAM_THRESHOLD": "0"},
			code: 2, text: `reading threshold: "0", want`},
		"no run": {env: map[string]string{"PARAM_CANARY_WEIGHT": "1"}, code: 2,
			text: "reading run-name: no value, want one"},
		"budget nonsense": {env: map[string]string{"RESULTS_BUDGET": "many"}, code: 2,
			text: `reading RESULTS_BUDGET: "many"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			ran := false
			code := step.Run(t.Context(), envconfig.MapLookuper(c.env), &stderr,
				func(context.Context, config, *step.Results) error {
					ran = true
					return nil
				})
			if code != c.code || ran != (c.code == 0) {
				t.Errorf("exit %d, ran %v, want exit %d", code, ran, c.code)
			}
			if !strings.Contains(strings.ReplaceAll(stderr.String(), `\"`, `"`), c.text) {
				t.Errorf("log %q, want %q in it", stderr.String(), c.text)
			}
		})
	}
}

func TestRunExitCodesAndReasons(t *testing.T) {
	cases := map[string]struct {
		err     error
		code    int
		reason  string
		verdict string
	}{
		"done":         {nil, 0, "", ""},
		"error":        {errors.New("no route to host"), 1, "error: no route to host", "inconclusive"},
		"config":       {failure.Configf("weight %d", 7), 2, "config: weight 7", "inconclusive"},
		"rejected":     {failure.Rejectedf("bad"), 3, "rejected: bad", "fail"},
		"inconclusive": {failure.Inconclusivef("thin"), 4, "inconclusive: thin", "inconclusive"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			env := envconfig.MapLookuper(map[string]string{
				"RESULT_REASON": filepath.Join(dir, "reason"), "RESULT_VERDICT": filepath.Join(dir, "verdict"),
			})
			code := step.Run(t.Context(), env, &bytes.Buffer{},
				func(context.Context, struct{}, *step.Results) error { return c.err })
			if code != c.code {
				t.Errorf("exit %d, want %d", code, c.code)
			}
			reason, _ := os.ReadFile(filepath.Join(dir, "reason"))
			if string(reason) != c.reason {
				t.Errorf("reason %q, want %q", reason, c.reason)
			}
			verdict, _ := os.ReadFile(filepath.Join(dir, "verdict"))
			if string(verdict) != c.verdict {
				t.Errorf("verdict %q, want %q", verdict, c.verdict)
			}
		})
	}
}

func TestResultsKeepTheirBudget(t *testing.T) {
	dir := t.TempDir()
	env := envconfig.MapLookuper(map[string]string{
		"RESULTS_BUDGET": "100", "RESULT_REASON": filepath.Join(dir, "reason"),
		"RESULT_EVIDENCE": filepath.Join(dir, "evidence"),
	})
	step.Run(t.Context(), env, &bytes.Buffer{}, func(_ context.Context, _ struct{}, out *step.Results) error {
		if err := out.Set("evidence", strings.Repeat("x", 90)); err != nil {
			t.Error(err)
		}
		if err := out.Set("reason", strings.Repeat("x", 11)); err == nil {
			t.Error("101 bytes were accepted, want an error")
		}
		if err := out.Set("unasked", "x"); err != nil {
			t.Errorf("a result that nobody asks for: %v, want none", err)
		}
		return errors.New("größer als erlaubt")
	})
	reason, _ := os.ReadFile(filepath.Join(dir, "reason"))
	if got, want := string(reason), "error: gr"; got != want {
		t.Errorf("reason %q, want %q, cut at a rune within the budget", got, want)
	}
}
