package pipeline_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/serin-cd/serin/internal/pipeline"
)

func TestATaskIsReadStrictly(t *testing.T) {
	const head = "apiVersion: tekton.dev/v1\nkind: Task\nmetadata:\n  name: a\n" +
		"spec:\n  steps:\n    - name: go\n      image: image\n"
	cases := map[string]struct{ text, want string }{
		"as it should be":      {text: head},
		"unknown to Tekton":    {text: head + "  colour: red\n", want: `unknown field "colour"`},
		"twice the same":       {text: head + "  steps: []\n", want: `key "steps" already set`},
		"no YAML":              {text: "\t", want: "cannot start any token"},
		"another kind of step": {text: strings.Replace(head, ": go", ": [go]", 1), want: "cannot unmarshal array"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tasks, err := pipeline.ReadTasks(fstest.MapFS{"a/a.yaml": {Data: []byte(c.text)}})
			switch {
			case c.want == "" && (err != nil || len(tasks["a"].Spec.Steps) != 1):
				t.Errorf("got %v and error %v, want Task a with one step", tasks, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			case err != nil && !strings.HasPrefix(err.Error(), "reading Task a: "):
				t.Errorf("error %v, want the name of the Task", err)
			}
		})
	}
}
