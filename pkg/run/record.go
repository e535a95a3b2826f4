package run

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// ID names one PipelineRun for good: a run that is deleted and made again is another.
type ID struct {
	Namespace string `env:"NAMESPACE"`
	Name      string `env:"NAME"`
	UID       string `env:"UID"`
}

// String is namespace/name/uid.
func (id ID) String() string { return id.Namespace + "/" + id.Name + "/" + id.UID }

// ParseID reads what String writes.
func ParseID(text string) (ID, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return ID{}, fmt.Errorf("reading run id: %q, want namespace/name/uid", text)
	}
	return ID{parts[0], parts[1], parts[2]}, nil
}

// MarshalText writes an id as String does.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads an id as ParseID does.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// Phase is how far a run is.
type Phase string

// The phases, in order. Shifting may be left for Closed at any time.
const (
	Preparing Phase = "preparing" // the canary starts; it has no traffic
	Shifting  Phase = "shifting"  // the canary has had a share
	Promoting Phase = "promoting" // the primary is becoming the canary's revision
	Closed    Phase = "closed"    // the primary serves everyone; what remains is to settle
)

// Outcome is how a run ended.
type Outcome string

// The outcomes. Unfinished is that of a first release that was given up: the next run begins it anew.
const (
	Unfinished  Outcome = ""
	Initialized Outcome = "initialized"
	Unchanged   Outcome = "unchanged" // is never recorded: such a run leaves the last record as it is
	Promoted    Outcome = "promoted"
	RolledBack  Outcome = "rolled-back"
	Superseded  Outcome = "superseded"
)

// Stage is one weight, and when it was written, by the API server's clock.
type Stage struct {
	Weight int32     `json:"weight"` // percent
	At     time.Time `json:"at"`
}

// Record says which run has the application and how far it is. It is an annotation of the
// VirtualService and changes in the same patch as the weights, so the two never disagree.
type Record struct {
	ID       ID        `json:"id"`
	Created  time.Time `json:"created"`
	Phase    Phase     `json:"phase"`
	Outcome  Outcome   `json:"outcome,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Revision string    `json:"revision"`           // what the run releases
	Previous string    `json:"previous,omitempty"` // what the primary ran before; empty at a first release
	Stages   []Stage   `json:"phases,omitempty"`
	Ended    time.Time `json:"ended,omitzero"` // when it was closed
}

// Parse reads a record. A record that no run could have written is an error.
func Parse(text string) (*Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("reading the record of a run: %w", err)
	}
	switch r.Phase {
	case Preparing, Shifting, Promoting, Closed:
	default:
		return nil, fmt.Errorf("reading the record of a run: phase %q, want preparing, shifting, promoting or closed", r.Phase)
	}
	if r.ID == (ID{}) {
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

// Open says whether the run may still change the application.
func (r *Record) Open() bool { return r != nil && r.Phase != Closed }

// Weight is the canary's share, in percent, that the record stands for.
func (r *Record) Weight() int32 {
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
