package parameter

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// Parameter is one field of a program's configuration, a struct with go-envconfig tags.
type Parameter struct {
	Name     string // kebab-case: TIME_BOX is time-box
	Default  string // empty for none
	Required bool

	path []string // names of the fields that lead to it
	kind reflect.Type
}

// Of are the parameters that a configuration reads. The identity of the run, which Tekton gives, is none.
func Of(config any) []Parameter {
	all := fields(reflect.TypeOf(config), "", nil)
	return slices.DeleteFunc(all, Parameter.OfRun)
}

// OfRun says whether it is of the run's identity, which no Task offers.
func (p Parameter) OfRun() bool { return strings.HasPrefix(p.Name, identity) }

// identity is what the names of the run's identity begin with.
const identity = "run-"

func fields(t reflect.Type, prefix string, path []string) []Parameter {
	var all []Parameter
	for i := range t.NumField() {
		field := t.Field(i)
		p, nested, ok := FromTag(field.Tag)
		p.path, p.kind = append(slices.Clone(path), field.Name), field.Type
		switch {
		case !ok && field.Type.Kind() == reflect.Struct:
			all = append(all, fields(field.Type, prefix+nested, p.path)...)
		case ok:
			p.Name = Name(prefix) + p.Name
			all = append(all, p)
		}
	}
	return all
}

// FromTag reads the tag of a field. A field that is no parameter may be a struct of such; prefix is what their keys
// then begin with.
func FromTag(tag reflect.StructTag) (p Parameter, prefix string, ok bool) {
	key, options, _ := strings.Cut(tag.Get("env"), ",")
	for option := range strings.SplitSeq(options, ",") {
		if value, is := strings.CutPrefix(strings.TrimSpace(option), "prefix="); is {
			prefix = value
		}
	}
	options = strings.TrimSpace(options)
	p = Parameter{Name: Name(key), Required: options == "required"}
	if value, is := strings.CutPrefix(options, "default="); is {
		p.Default = value
	}
	return p, prefix, key != ""
}

// Name is the parameter that a key of the environment stands for.
func Name(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "-")) }

// Key is the key of the environment, less its prefix, that a parameter or a result is read from.
func Key(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// Check refuses a value that the parameter cannot have.
func (p Parameter) Check(value string) error {
	decoder, ok := reflect.New(p.kind).Interface().(envconfig.Decoder)
	if !ok || value == "" {
		return nil
	}
	return decoder.EnvDecode(value)
}

// Decode fills a configuration with parameters by their names. The others have their defaults.
func Decode[C any](ctx context.Context, values map[string]string, config *C) error {
	all := Of(*config)
	env := map[string]string{}
	for name, value := range values {
		i := slices.IndexFunc(all, func(p Parameter) bool { return p.Name == name })
		if i < 0 {
			return failure.Configf("reading parameters: %s is none", name)
		}
		if err := all[i].Check(value); err != nil {
			return failure.Configf("reading %s: %w", name, err)
		}
		if value != "" { // which is none, as in a Task
			env[Key(name)] = value
		}
	}
	return Process(ctx, config, envconfig.MapLookuper(env))
}

// Process fills a configuration from an environment. What is wrong is told of the parameter by its name.
func Process[C any](ctx context.Context, config *C, env envconfig.Lookuper) error {
	if err := check(*config, env); err != nil {
		return err
	}
	err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: config, Lookuper: env})
	if err == nil {
		return nil
	}
	name, rest := blame(*config, err)
	return failure.Configf("reading %s: %s", name, rest)
}

// check names all parameters that are missing or cannot have the value that they have: go-envconfig stops at the first.
func check(config any, env envconfig.Lookuper) error {
	var refusals failure.Refusals
	for _, p := range fields(reflect.TypeOf(config), "", nil) {
		value, there := env.Lookup(Key(p.Name))
		if !there && p.Required {
			refusals.Addf("reading %s: no value, want one", p.Name)
		}
		if err := p.Check(value); err != nil {
			refusals.Addf("reading %s: %w", p.Name, err)
		}
	}
	return refusals.Err()
}

// blame finds the parameter that an error of go-envconfig is about, which begins with the names of nested fields, and
// what is left of the text.
func blame(config any, err error) (name, rest string) {
	text := err.Error()
	for _, p := range fields(reflect.TypeOf(config), "", nil) {
		if rest, ok := strings.CutPrefix(text, strings.Join(p.path, ": ")+": "); ok {
			return p.Name, rest
		}
	}
	return "parameters", text
}
