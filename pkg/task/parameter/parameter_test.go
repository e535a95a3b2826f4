package parameter_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// config is a configuration as steps have them: with an identity, and with structs inside.
type config struct {
	Run struct {
		Name string `env:"NAME"`
	} `env:", prefix=RUN_"`
	App    string           `env:"APP, required"`
	Weight parameter.Weight `env:"WEIGHT, required"`
	Hosts  []string         `env:"HOSTS"`
	Judge  struct {
		TimeBox   parameter.Span  `env:"TIME_BOX"`
		Threshold parameter.Count `env:"THRESHOLD, default=5"`
	}
	Metrics struct {
		URL string `env:"URL, default=http://prometheus:9090"`
	} `env:", prefix=PROMETHEUS_"`
}

func TestOf(t *testing.T) {
	want := []parameter.Parameter{
		{Name: "app", Required: true},
		{Name: "weight", Required: true},
		{Name: "hosts"},
		{Name: "time-box"},
		{Name: "threshold", Default: "5"},
		{Name: "prometheus-url", Default: "http://prometheus:9090"},
	}
	if diff := cmp.Diff(want, parameter.Of(config{}), cmpopts.IgnoreUnexported(parameter.Parameter{})); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
}

func TestFromTag(t *testing.T) {
	type one = parameter.Parameter
	cases := map[string]struct {
		tag    reflect.StructTag
		want   parameter.Parameter
		prefix string
		ok     bool
	}{
		"name alone":           {`env:"TIME_BOX"`, one{Name: "time-box"}, "", true},
		"required":             {`env:"APP, required"`, one{Name: "app", Required: true}, "", true},
		"default":              {`env:"SETTLE, default=5s"`, one{Name: "settle", Default: "5s"}, "", true},
		"default with a comma": {`env:"PORTS, default=1,2"`, one{Name: "ports", Default: "1,2"}, "", true},
		"a struct":             {`env:", prefix=RUN_"`, one{}, "RUN_", false},
		"no tag":               {``, one{}, "", false},
		"another tag":          {`json:"app"`, one{}, "", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, prefix, ok := parameter.FromTag(c.tag)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(parameter.Parameter{})); diff != "" {
				t.Errorf("parameter (-want +got):\n%s", diff)
			}
			if prefix != c.prefix || ok != c.ok {
				t.Errorf("prefix %q, is one: %v, want %q, %v", prefix, ok, c.prefix, c.ok)
			}
		})
	}
}

func TestNameAndKey(t *testing.T) {
	for name, key := range map[string]string{"app": "APP", "time-box": "TIME_BOX", "prometheus-url": "PROMETHEUS_URL"} {
		if got := parameter.Name(key); got != name {
			t.Errorf("the name of %s is %q, want %q", key, got, name)
		}
		if got := parameter.Key(name); got != key {
			t.Errorf("the key of %s is %q, want %q", name, got, key)
		}
	}
}

func TestDecode(t *testing.T) {
	var got config
	given := map[string]string{"app": "podinfo", "weight": "20", "hosts": "a,b", "threshold": ""}
	if err := parameter.Decode(t.Context(), given, &got); err != nil {
		t.Fatal(err)
	}
	var want config
	want.App, want.Weight, want.Hosts = "podinfo", 20, []string{"a", "b"}
	want.Judge.Threshold, want.Metrics.URL = 5, "http://prometheus:9090"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	type values = map[string]string
	const missing = "reading app: no value, want one"
	cases := map[string]struct {
		values values
		want   string
	}{
		"unknown":            {values{"wieght": "20"}, "reading parameters: wieght is none"},
		"the run's identity": {values{"run-name": "mine"}, "reading parameters: run-name is none"},
		"malformed":          {values{"weight": "20%"}, `reading weight: "20%", want a whole number from 0 to 100`},
		"deep inside":        {values{"threshold": "0"}, `reading threshold: "0", want a whole number of at least 1`},
		"missing":            {values{"weight": "20"}, missing},
		"empty":              {values{"app": "", "weight": "20"}, missing},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := parameter.Decode(t.Context(), c.values, &config{})
			if failure.Code(err) != failure.ExitConfig || fmt.Sprint(err) != c.want {
				t.Errorf("error %v (exit %d), want %s (exit 2)", err, failure.Code(err), c.want)
			}
		})
	}
}

func TestProcessNamesTheParameter(t *testing.T) {
	cases := map[string]struct{ key, value, want string }{
		"at the top":   {"WEIGHT", "20%", `reading weight: "20%", want a whole number from 0 to 100`},
		"deep inside":  {"THRESHOLD", "0", `reading threshold: "0", want a whole number of at least 1`},
		"with no type": {"HOSTS", "a,b", ""},
		"missing":      {"APP", "", "reading app: no value, want one"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"APP": "podinfo", "WEIGHT": "20", c.key: c.value}
			if c.value == "" {
				delete(env, c.key)
			}
			err := parameter.Process(t.Context(), &config{}, envconfig.MapLookuper(env))
			if got := fmt.Sprint(err); c.want != "" && got != c.want || c.want == "" && err != nil {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if err != nil && failure.Code(err) != failure.ExitConfig {
				t.Errorf("%v ends with exit %d, want %d", err, failure.Code(err), failure.ExitConfig)
			}
		})
	}
}
