// Package run is what a PipelineRun is to Serin: an identity, a phase, an outcome, and the stages it went through.
package run

import (
	"fmt"
	"strings"
	"time"

	"github.com/serin-cd/serin/pkg/task/parameter"
)

// ID names one PipelineRun for good: a run that is deleted and made again is another. It says who owns an application:
// the record, the stamp and the Lease each hold one.
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

// The outcomes. Unfinished is that of a first release that was given up: the next run begins it anew. Unchanged,
// Refused and Failed are never recorded: such a run leaves the application and its last record as they are.
const (
	Unfinished  Outcome = ""
	Initialized Outcome = "initialized"
	Unchanged   Outcome = "unchanged"
	Promoted    Outcome = "promoted"
	RolledBack  Outcome = "rolled-back"
	Superseded  Outcome = "superseded"
	Refused     Outcome = "refused" // it cannot be released like this
	Failed      Outcome = "failed"  // the cluster or a person was in the way
)

// Done says whether a run that ended so has done what it was for.
func (o Outcome) Done() bool { return o == Promoted || o == Initialized || o == Unchanged }

// Stage is one weight, and when it was written. A record has times of the API server's clock, a judge of Prometheus's.
type Stage struct {
	Weight parameter.Weight `json:"weight"`
	At     time.Time        `json:"at"`
}
