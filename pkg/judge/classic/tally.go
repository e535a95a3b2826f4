package classic

import "github.com/serin-cd/serin/pkg/judge/verdict"

// Rules are the numbers that checks are counted against.
type Rules struct {
	Threshold    int  // failed checks that end the rollout
	Checks       int  // passed checks that a stage needs
	NoValuesFail bool // a check without values is a failed one
}

// Tally counts checks over a rollout; failures are never taken back.
type Tally struct {
	Rules
	Failed int // over all stages
	Passed int // in this stage, as are those below
	Empty  int // without values

	done   int
	streak int // checks without values since the last one with
}

// NewStage begins the next stage.
func (t *Tally) NewStage() { t.done, t.Passed, t.Empty, t.streak = 0, 0, 0, 0 }

// Add counts a check, and says what the checks so far amount to.
func (t *Tally) Add(state verdict.State) verdict.Decision {
	t.done++
	if state == verdict.NoValues && t.NoValuesFail {
		state = verdict.Failed
	}
	if state == verdict.NoValues {
		t.Empty++
		if t.streak++; t.streak >= t.Threshold {
			return verdict.Inconclusive
		}
		return verdict.Wait
	}
	t.streak = 0
	if state == verdict.Passed {
		if t.Passed++; t.Passed >= t.Checks {
			return verdict.Pass
		}
		return verdict.Wait
	}
	if t.Failed++; t.Failed >= t.Threshold {
		return verdict.Fail
	}
	return verdict.Wait
}
