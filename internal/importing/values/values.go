// Package values reads the canary block of a chart, as the packs of Jenkins X have it.
package values

import (
	"errors"
	"fmt"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// key is that of the block.
const key = "canary"

// placeholder is the host that the packs begin with.
const placeholder = "acme.com"

// Source is where the values of an application stand: those of its chart, and those of an environment, which count
// more and stand below the application's name.
type Source struct {
	Name        string // of the chart's file
	Chart       []importing.Value
	Environment []importing.Value
	Key         string // of the application in the environment
}

// block is one that is being read.
type block struct {
	*importing.Release
	source Source
	counts map[string]importing.Value // the values that count, by the patterns of their paths
	steps  [2]int                     // stepWeight and maxWeight, in percent
}

// Import reads the block of an application.
func Import(app application.Application, from Source) (*importing.Release, error) {
	b := &block{Release: importing.New(app), source: from, counts: map[string]importing.Value{}}
	found, err := b.blocks()
	if err != nil {
		return nil, err
	}
	var leaves []importing.Leaf[*block]
	var wrong []error
	for _, v := range found {
		more, err := rules.Leaves(v)
		leaves, wrong = append(leaves, more...), append(wrong, err)
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	for _, l := range leaves {
		b.counts[l.Pattern] = l.Value // the environment's come last
	}
	if err := b.collect(); err != nil {
		return nil, err
	}
	for _, l := range leaves {
		f, err := b.field(l)
		b.Fields, wrong = append(b.Fields, f), append(wrong, err)
	}
	return b.Release, errors.Join(wrong...)
}

// field says what becomes of a value, which the environment may override.
func (b *block) field(l importing.Leaf[*block]) (importing.Field, error) {
	if counts := b.counts[l.Pattern]; counts.File != l.File {
		return l.Field(importing.Unneeded, fmt.Sprintf("%s, line %d, counts instead", counts.File, counts.Line())), nil
	}
	return l.Apply(b)
}

// blocks are that of the chart and that of the environment.
func (b *block) blocks() ([]importing.Value, error) {
	var all []importing.Value
	below := func(v importing.Value) error {
		if _, err := v.Entries(); err != nil {
			return err
		}
		if block, ok := v.Get(key); ok {
			all = append(all, block)
		}
		return nil
	}
	for _, d := range b.source.Chart {
		if err := below(d); err != nil {
			return nil, err
		}
	}
	for _, d := range b.source.Environment {
		if _, err := d.Entries(); err != nil {
			return nil, err
		}
		own, ok := d.Get(b.source.Key)
		if !ok {
			return nil, d.Refusef("no key %s, want that of the application: --app names it", b.source.Key)
		}
		if err := below(own); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, failure.Configf("reading %s: no key %s with anything below it, want the block that switches "+
			"canaries on", b.source.Name, key)
	}
	return all, nil
}

// collect reads what several values decide together, and sets what the packs take if there is no value.
func (b *block) collect() error {
	b.steps = [2]int{20, 60}
	for i, name := range []string{"stepWeight", "maxWeight"} {
		for _, holder := range holders {
			v, ok := b.counts[holder+"."+name]
			if !ok {
				continue
			}
			n, err := v.Int()
			if err != nil {
				return err
			}
			if n < 1 || n > 100 {
				return v.Refusef("%d, want 1 to 100", n)
			}
			b.steps[i] = n
		}
	}
	b.Plan.Weights = importing.Steps(b.steps[0], b.steps[1])
	b.Parameters["gateways"] = b.App.Name // the chart makes it
	b.Parameters["success-rate"], b.Parameters["request-duration"] = "", ""
	return nil
}
