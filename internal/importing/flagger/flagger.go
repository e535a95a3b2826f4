// Package flagger reads what releases applications with Flagger: its Canaries, with their MetricTemplates.
package flagger

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/judge/classic"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Group is that of Flagger's kinds.
const Group = "flagger.app"

// What Flagger does where a Canary does not say.
const (
	usualProgress  = 600 * time.Second
	usualInterval  = time.Minute
	usualWindow    = "1m" // of a metric
	shortest       = 10 * time.Second
	usualMost      = 100 // maxWeight
	usualThreshold = 1
	usualScaler    = "HorizontalPodAutoscaler"
)

// objects are what a file has, by kind and name.
type objects struct {
	namespace string // of those that name none
	canaries  []object
	templates map[string]object
	others    []importing.Field // the documents that are not read
}

// object is one of Flagger's.
type object struct {
	namespace, name string
	importing.Value
}

// key is how references name an object.
func key(namespace, name string) string { return namespace + "/" + name }

// Import reads Canaries, with the templates and providers that they name. Those without a namespace are taken to stand
// in the one that is given.
func Import(documents []importing.Value, namespace string) ([]*importing.Release, error) {
	found := objects{namespace: namespace, templates: map[string]object{}}
	var wrong []error
	for _, d := range documents {
		wrong = append(wrong, found.add(d))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	if len(found.canaries) == 0 {
		return nil, failure.Configf("reading %s: no Canary of %s, want at least one", files(documents), Group)
	}
	var all []*importing.Release
	for _, o := range found.canaries {
		r, err := found.release(o)
		if err == nil {
			err = apart(all, r, o)
		}
		wrong = append(wrong, err)
		all = append(all, r)
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	all[0].Fields = append(all[0].Fields, found.others...)
	return all, nil
}

// apart refuses a Canary of a Deployment that another one has.
func apart(all []*importing.Release, r *importing.Release, of object) error {
	for _, other := range all {
		if other != nil && other.App == r.App {
			return of.Refusef("Canary %s: another Canary releases Deployment %s too, want one", of.name, r.App.Name)
		}
	}
	return nil
}

func files(documents []importing.Value) string {
	var all []string
	for _, d := range documents {
		if !slices.Contains(all, d.File) {
			all = append(all, d.File)
		}
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}

// add sorts a document in: one of Flagger's, or a List of them. Others are none of ours.
func (o *objects) add(v importing.Value) error {
	kind, err := text(v, "kind")
	if err != nil {
		return err
	}
	version, err := text(v, "apiVersion")
	if err != nil {
		return err
	}
	if kind == "List" || kind == "CanaryList" {
		items, ok := v.Get("items")
		if !ok {
			return nil
		}
		list, err := items.Items()
		if err != nil {
			return err
		}
		var wrong []error
		for _, item := range list {
			item.Path = "" // of the object itself
			wrong = append(wrong, o.add(item))
		}
		return errors.Join(wrong...)
	}
	group, _, _ := strings.Cut(version, "/")
	if group != Group {
		of, _ := v.Get("kind")
		o.others = append(o.others, of.Field(importing.Stays, "not one of Flagger's: it is not read, and not written"))
		return nil
	}
	return o.own(v, kind)
}

// own sorts one of Flagger's objects in.
func (o *objects) own(v importing.Value, kind string) error {
	metadata, ok := v.Get("metadata")
	if !ok {
		return v.Refusef("%s without metadata, want its name", kind)
	}
	name, err := text(metadata, "name")
	if err != nil {
		return err
	}
	namespace := o.namespace
	if _, ok := metadata.Get("namespace"); ok {
		if namespace, err = text(metadata, "namespace"); err != nil {
			return err
		}
	}
	found := object{namespace, name, v}
	switch kind {
	case "Canary":
		if err := o.once(found); err != nil {
			return err
		}
		o.canaries = append(o.canaries, found)
	case "MetricTemplate":
		_, err := templateFields.Leaves(v)
		o.templates[key(namespace, name)] = found
		return err
	case "AlertProvider":
		_, err := providerFields.Leaves(v)
		return err
	default:
		return v.Refusef("kind %s, want Canary, MetricTemplate or AlertProvider", kind)
	}
	return nil
}

// once refuses a Canary that was read already.
func (o *objects) once(found object) error {
	for _, c := range o.canaries {
		if c.namespace == found.namespace && c.name == found.name {
			return found.Refusef("Canary %s is there twice, first in %s, line %d: want it once", found.name, c.File,
				c.Line())
		}
	}
	return nil
}

// text is what a key must have.
func text(v importing.Value, name string) (string, error) {
	found, ok := v.Get(name)
	if !ok {
		return "", v.Refusef("no %s, want one", name)
	}
	return found.Scalar()
}

// canary is one that is being read.
type canary struct {
	*importing.Release
	objects *objects
	scaler  string // kind of the autoscaler
	steps   steps
	metrics metrics
	shared  map[string]string // variables of the metrics' queries
}

// steps are how weights are written.
type steps struct {
	step, most int
	list       []int
}

// all are the weights, in percent.
func (s steps) all() []int {
	if len(s.list) > 0 {
		return s.list
	}
	return importing.Steps(s.step, cmp.Or(s.most, usualMost))
}

// metrics are the bounds of an analysis.
type metrics struct {
	list   []classic.Metric
	custom bool // some are not Istio's own
}

// release reads a Canary.
func (o *objects) release(found object) (*importing.Release, error) {
	target, err := reference(found.Value, "spec", "targetRef", "name")
	if err != nil {
		return nil, err
	}
	app := application.Application{Namespace: found.namespace, Name: target}
	checked := app
	checked.Namespace = cmp.Or(app.Namespace, "default")
	if err := checked.Validate(); err != nil {
		return nil, found.Refusef("%w", err)
	}
	c := &canary{Release: importing.New(app), objects: o, shared: map[string]string{}}
	leaves, err := rules.Leaves(found.Value)
	if err != nil {
		return nil, err
	}
	if err := c.collect(found.Value); err != nil {
		return nil, err
	}
	if c.Fields, err = importing.Apply(c, leaves); err != nil {
		return nil, err
	}
	return c.Release, c.settle()
}

// reference is a text below some keys.
func reference(v importing.Value, keys ...string) (string, error) {
	for _, k := range keys[:len(keys)-1] {
		below, ok := v.Get(k)
		if !ok {
			return "", v.Refusef("no %s, want one", k)
		}
		v = below
	}
	return text(v, keys[len(keys)-1])
}

// collect reads what several fields decide together.
func (c *canary) collect(v importing.Value) error {
	spec, _ := v.Get("spec")
	analysis, ok := spec.Get("analysis")
	if !ok {
		analysis, ok = spec.Get("canaryAnalysis")
	}
	if !ok {
		return spec.Refusef("no analysis, want one: without it Flagger promotes at once, and there is nothing " +
			"to import")
	}
	for name, to := range map[string]*int{"stepWeight": &c.steps.step, "maxWeight": &c.steps.most} {
		if v, ok := analysis.Get(name); ok {
			n, err := v.Int()
			if err != nil {
				return err
			}
			if n < 1 || n > 100 {
				return v.Refusef("%d, want 1 to 100", n)
			}
			*to = n
		}
	}
	if v, ok := spec.Get("metricsServer"); ok { // before what templates ask
		if _, _, err := server(c, v); err != nil {
			return err
		}
	}
	c.scaler = usualScaler
	if v, ok := get(spec, "autoscalerRef", "kind"); ok {
		kind, err := v.Scalar()
		if err != nil {
			return err
		}
		c.scaler = kind
	}
	if v, ok := analysis.Get("stepWeights"); ok {
		if err := c.steps.read(v); err != nil {
			return err
		}
	}
	if c.steps.step == 0 && len(c.steps.list) == 0 {
		return analysis.Refusef("no stepWeight and no stepWeights, want one: A/B tests and blue/green, which have " +
			"iterations instead, are not released by Serin")
	}
	c.Plan.Weights = c.steps.all()
	c.Plan.ProgressDeadline, c.Plan.Interval, c.Plan.Threshold = usualProgress, usualInterval, usualThreshold
	return nil
}

// read takes a list of weights; all traffic is not a stage, but what promotion gives.
func (s *steps) read(v importing.Value) error {
	items, err := v.Items()
	if err != nil {
		return err
	}
	last := 0
	for _, item := range items {
		n, err := item.Int()
		if err != nil {
			return err
		}
		if n <= last || n > 100 {
			return item.Refusef("weight %d after %d, want them ascending, up to 100", n, last)
		}
		last = n
		if n < 100 {
			s.list = append(s.list, n)
		}
	}
	if len(s.list) == 0 {
		return v.Refusef("%s, want at least one weight below 100", v.Text())
	}
	return nil
}

// settle sets the parameters that follow from all that was read.
func (c *canary) settle() error {
	for name, set := range map[string]func() (importing.Fate, string, error){
		"progress-deadline": func() (importing.Fate, string, error) { return c.ProgressDeadline(usualProgress) },
		"interval":          func() (importing.Fate, string, error) { return c.Interval(usualInterval) },
		"threshold":         func() (importing.Fate, string, error) { return c.Threshold(usualThreshold) },
	} {
		if _, ok := c.Parameters[name]; !ok {
			if _, _, err := set(); err != nil {
				return err
			}
		}
	}
	if c.metrics.custom {
		list, err := json.Marshal(c.metrics.list)
		if err != nil {
			return fmt.Errorf("writing metrics: %w", err)
		}
		c.Parameters["metrics"] = string(list)
		return nil
	}
	for name, bound := range map[string]string{"success-rate": "", "request-duration": ""} {
		for _, m := range c.metrics.list {
			switch {
			case name == "success-rate" && m.Name == verdict.SuccessRate && m.Min != nil:
				bound = fmt.Sprint(*m.Min)
			case name == "request-duration" && m.Name == verdict.RequestDuration && m.Max != nil:
				bound = fmt.Sprint(*m.Max)
			}
		}
		c.Parameters[name] = bound
	}
	return nil
}
