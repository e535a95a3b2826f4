package run_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/pkg/task/run"
)

func TestParseID(t *testing.T) {
	cases := map[string]struct {
		text string
		want run.ID
		err  string
	}{
		"whole":           {"prod/release-7/2c1a", run.ID{Namespace: "prod", Name: "release-7", UID: "2c1a"}, ""},
		"empty":           {"", run.ID{}, `reading run id: "", want namespace/name/uid`},
		"without a UID":   {"prod/release-7", run.ID{}, `reading run id: "prod/release-7", want namespace/name/uid`},
		"an empty UID":    {"prod/release-7/", run.ID{}, `reading run id: "prod/release-7/", want namespace/name/uid`},
		"no namespace":    {"/release-7/2c1a", run.ID{}, `reading run id: "/release-7/2c1a", want namespace/name/uid`},
		"no name":         {"prod//2c1a", run.ID{}, `reading run id: "prod//2c1a", want namespace/name/uid`},
		"one part more":   {"prod/a/2c1a/0", run.ID{}, `reading run id: "prod/a/2c1a/0", want namespace/name/uid`},
		"somebody's name": {"somebody", run.ID{}, `reading run id: "somebody", want namespace/name/uid`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := run.ParseID(c.text)
			if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if got != c.want {
				t.Errorf("id %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestIDAsJSON writes an id as the record, the stamp and the Lease hold it, and reads it again.
func TestIDAsJSON(t *testing.T) {
	type holder struct {
		ID run.ID `json:"id"`
	}
	want := holder{run.ID{Namespace: "prod", Name: "release-7", UID: "2c1a"}}
	text, err := json.Marshal(want)
	if err != nil || string(text) != `{"id":"prod/release-7/2c1a"}` {
		t.Fatalf("written as %s (%v)", text, err)
	}
	var got holder
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("read as %+v (%v), want %+v", got, err, want)
	}
	if again, err := run.ParseID(want.ID.String()); err != nil || again != want.ID {
		t.Errorf("parsed as %+v (%v), want %+v", again, err, want.ID)
	}
	if err := json.Unmarshal([]byte(`{"id":"prod/release-7"}`), &got); err == nil {
		t.Error("an id without a UID was read, want an error")
	}
}

// TestStageAsJSON is the form that records of earlier releases have.
func TestStageAsJSON(t *testing.T) {
	want := run.Stage{Weight: 20, At: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	text, err := json.Marshal(want)
	if diff := cmp.Diff(`{"weight":20,"at":"2026-11-23T12:00:00Z"}`, string(text)); err != nil || diff != "" {
		t.Errorf("written (%v, -want +got):\n%s", err, diff)
	}
	var got run.Stage
	if err := json.Unmarshal(text, &got); err != nil || !got.At.Equal(want.At) || got.Weight != want.Weight {
		t.Errorf("read as %+v (%v), want %+v", got, err, want)
	}
}
