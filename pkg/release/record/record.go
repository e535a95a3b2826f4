package record

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Record says which run has the application and how far it is. It is an annotation of the
// VirtualService and changes in the same patch as the weights, so the two never disagree.
type Record struct {
	ID       run.ID      `json:"id"`
	Created  time.Time   `json:"created"`
	Phase    run.Phase   `json:"phase"`
	Outcome  run.Outcome `json:"outcome,omitempty"`
	Reason   string      `json:"reason,omitempty"`
	Revision string      `json:"revision"`           // what the run releases
	Previous string      `json:"previous,omitempty"` // what the primary ran before; empty at a first release
	Stages   []run.Stage `json:"phases,omitempty"`
	Ended    time.Time   `json:"ended,omitzero"` // when it was closed

	// Inherited says that the target had pods when the run began: proxies may send to them for a while.
	Inherited bool `json:"inherited,omitempty"`

	// Unjudged says who releases the revision without analysis, and why. It is empty where stages judge it.
	Unjudged string `json:"unjudged,omitempty"`

	// Where the run shifts, and of which application, if not in the VirtualService of its name by the rule. The first
	// VirtualService has the record, the others copies of it.
	App string `json:"app,omitempty"`
	mesh.Selection
	// Verdict is that of the last stage: pass once the run promotes, another if it has ended the run, whose reason is
	// then the verdict's. It is empty where the run ended before a verdict.
	Verdict verdict.Decision `json:"verdict,omitempty"`
	Passed  time.Time        `json:"passed,omitzero"` // by when the last stage had passed
}

// Parse reads a record. A record that no run could have written is an error.
func Parse(text string) (*Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("reading the record of a run: %w", err)
	}
	switch r.Phase {
	case run.Preparing, run.Shifting, run.Promoting, run.Closed:
	default:
		return nil, fmt.Errorf("reading the record of a run: phase %q, want preparing, shifting, promoting or closed",
			r.Phase)
	}
	if r.ID == (run.ID{}) {
		return nil, fmt.Errorf("reading the record of a run: no id, want namespace/name/uid")
	}
	return &r, r.checkStages()
}

func (r *Record) checkStages() error {
	for i, s := range r.Stages {
		if s.Weight < 0 || s.Weight > 100 {
			return fmt.Errorf("reading the record of a run: phase %d weight %d, want 0 to 100", i+1, s.Weight)
		}
	}
	return nil
}

// Of is the application's name, for a record that was found on a VirtualService.
func (r *Record) Of(virtualService string) string {
	if r == nil || r.App == "" {
		return virtualService
	}
	return r.App
}

// Copied says whether a record that was found on a VirtualService is a copy: the record itself is on another.
func (r *Record) Copied(virtualService string) bool {
	return r != nil && len(r.VirtualServices) > 0 && r.VirtualServices[0] != virtualService
}

// PromotedFor is the reason of a run that has promoted.
func (r *Record) PromotedFor() string {
	if r != nil && r.Unjudged != "" {
		return "released without analysis by " + r.Unjudged
	}
	return "every stage passed"
}

// Open says whether the run may still change the application.
func (r *Record) Open() bool { return r != nil && r.Phase != run.Closed }

// Untouched says whether the canary's pods never had a share of the traffic, as far as the record tells.
func (r *Record) Untouched() bool {
	return r != nil && !r.Inherited && !slices.ContainsFunc(r.Stages, func(s run.Stage) bool { return s.Weight > 0 })
}

// Weight is the canary's share, in percent, that the record stands for.
func (r *Record) Weight() parameter.Weight {
	if !r.Open() || len(r.Stages) == 0 {
		return 0
	}
	return r.Stages[len(r.Stages)-1].Weight
}

// String is the record as the annotation holds it.
func (r *Record) String() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings, times and numbers only
	}
	return string(text)
}
