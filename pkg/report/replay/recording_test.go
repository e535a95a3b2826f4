package replay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/report/replay"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestFilesThatAreNoRecordings(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"text.json": "samples", "text.json.gz": "samples",
		"later.json": `{"version": 2}`} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := replay.Read(path); failure.Code(err) != failure.ExitConfig ||
			!strings.Contains(fmt.Sprint(err), "want") {
			t.Errorf("%s: error %v, want one that says what is wanted", name, err)
		}
	}
	if _, err := replay.Read(filepath.Join(dir, "none")); failure.Code(err) != failure.ExitConfig {
		t.Errorf("no file: error %v", err)
	}
}

// A file of each version that ever was is read for good: it needs no Prometheus, so it runs under -short.
func TestRecordingsOfTheFirstVersion(t *testing.T) {
	recording, err := replay.Read("testdata/version-1.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	p, err := recording.Past(recording.Until)
	if err != nil {
		t.Fatal(err)
	}
	c := cases["bad"]
	_, object := texts(t, both(t, p, recording.Rollout(), recording.Parameters))
	judged(t, object, c.sequential, c.classic)
}

func TestARecordingHoldsNoSecrets(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := prometheustest.Start(t, deployed("healthy", flow{good: 10}, flow{good: 40})...)
	client, err := prometheus.New(prometheus.Config{URL: url, TokenPath: token, Headers: `{"X-Scope-OrgID": "0rg"}`})
	if err != nil {
		t.Fatal(err)
	}
	r := rolloutOf(t, "healthy", oneStage)
	text, err := json.Marshal(recorded(t, replay.New(client, noon.Add(5*time.Minute)), r, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"s3cret", token, "0rg", strings.TrimPrefix(url, "http://")} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the recording holds %q", secret)
		}
	}
}

func recorded(t *testing.T, p *replay.Past, r replay.Rollout, parameters map[string]string) *replay.Recording {
	t.Helper()
	recording, err := replay.Record(t.Context(), p, r, configOf(t, parameters))
	if err != nil {
		t.Fatal(err)
	}
	return recording
}

// again is what a recording holds after it was written and read.
func again(t *testing.T, recording *replay.Recording, name string) *replay.Past {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := recording.Write(path); err != nil {
		t.Fatal(err)
	}
	read, err := replay.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := read.Past(read.Until)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
