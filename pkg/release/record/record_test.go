package record_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestParseReadsWhatStringWrites(t *testing.T) {
	want := ended(mine, run.RolledBack, 20, 40, 0)
	want.Reason = "threshold: 5 of 5 checks failed, \"last\": <500> ms é"
	got, err := record.Parse(want.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestParseRefusesNonsense(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"empty":         {``, "unexpected end of JSON input"},
		"null":          {`null`, `phase ""`},
		"stamp":         {`prod/mine/1`, "invalid character"},
		"list":          {`[]`, "cannot unmarshal array"},
		"cut off":       {`{"id":"prod/mine/1","phase":"shifting"`, "unexpected end"},
		"two":           {`{"id":"prod/mine/1","phase":"closed"} {}`, "invalid character"},
		"no phase":      {`{"id":"prod/mine/1"}`, `phase "", want preparing, shifting, promoting or closed`},
		"another phase": {`{"id":"prod/mine/1","phase":"Shifting "}`, `phase "Shifting "`},
		"no id":         {`{"phase":"shifting"}`, "no id, want namespace/name/uid"},
		"null id":       {`{"id":null,"phase":"shifting"}`, "no id"},
		"id of two":     {`{"id":"prod/mine","phase":"shifting"}`, `"prod/mine", want namespace/name/uid`},
		"id of four":    {`{"id":"prod/mine/1/2","phase":"shifting"}`, "want namespace/name/uid"},
		"empty UID":     {`{"id":"prod/mine/","phase":"shifting"}`, "want namespace/name/uid"},
		"weight above 100": {`{"id":"prod/mine/1","phase":"shifting","phases":[{"weight":20},{"weight":101}]}`,
			"phase 2 weight 101, want 0 to 100"},
		"weight below 0": {`{"id":"prod/mine/1","phase":"shifting","phases":[{"weight":-1}]}`, "phase 1 weight -1"},
		"fraction": {`{"id":"prod/mine/1","phase":"shifting","phases":[{"weight":20.5}]}`,
			"cannot unmarshal number 20.5"},
		"time": {`{"id":"prod/mine/1","phase":"shifting","created":"noon"}`, "parsing time"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := record.Parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

// FuzzParse wants of every text an error or a record that can be written, and read as the same again.
func FuzzParse(f *testing.F) {
	f.Add(ended(mine, run.Promoted, 20, 40, 60).String())
	f.Add(recorded(theirs, run.Preparing).String())
	f.Add(`{"id":"a/b/c","phase":"shifting","phases":[{"weight":100,"at":"2026-01-02T12:00:00.5+23:59"}]}`)
	f.Add(`{"id":"a/b/c","phase":"closed","created":"9999-12-31T23:59:59-23:59","outcome":"what"}`)
	f.Fuzz(func(t *testing.T, text string) {
		first, err := record.Parse(text)
		if err != nil {
			return
		}
		second, err := record.Parse(first.String())
		if err != nil {
			t.Fatalf("%q was read as %s, which is refused: %v", text, first, err)
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q (-first +second):\n%s", text, diff)
		}
		if w := first.Weight(); w < 0 || w > 100 {
			t.Errorf("%q stands for weight %d", text, w)
		}
	})
}
