package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/doctor"
	"github.com/serin-cd/serin/internal/releasetest"
)

// TestExamplesOfDoctor runs them in a namespace where Serin is not installed.
func TestExamplesOfDoctor(t *testing.T) {
	a := releasetest.New(t)
	for example := range strings.Lines(doctors().Example) {
		line := strings.NewReplacer("shop", "podinfo", "production", a.Namespace).Replace(strings.TrimSpace(example))
		args := strings.Fields(strings.TrimPrefix(line, "tkn canary "))
		var out bytes.Buffer
		cmd := root()
		cmd.SetArgs(append(args, "--kubeconfig", apitest.KubeconfigOf(t)))
		cmd.SetOut(&out)
		err := cmd.ExecuteContext(t.Context())
		if want := "examining " + a.Namespace + ": there are errors"; err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", line, err, want)
		}
		missing := "namespace " + a.Namespace + " has no Pipeline canary"
		if !strings.Contains(line, "json") {
			for _, want := range []string{"error  ", missing, "→ apply Serin's manifest"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%s: no %q in\n%s", line, want, out.String())
				}
			}
			continue
		}
		var found []doctor.Finding
		if err := json.Unmarshal(out.Bytes(), &found); err != nil {
			t.Fatalf("%s: %v in\n%s", line, err, out.String())
		}
		told := map[string]string{}
		for _, f := range found {
			told[f.Check] += f.Text
		}
		if told["pipeline"] != missing || told["application"] == "" {
			t.Errorf("%s: found %v, want the Pipeline missing, and the application looked at", line, told)
		}
	}
}
