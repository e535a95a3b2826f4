package judge

// rules are the numbers that checks are counted against.
type rules struct {
	threshold, checks int
	noValuesFail      bool
}

// tally counts checks over a rollout; failures are never taken back.
type tally struct {
	rules
	failed int // over all phases
	done   int // in this phase, as are those below
	passed int
	empty  int
	streak int // checks without values since the last one with
}

// phase begins the next phase.
func (t *tally) phase() { t.done, t.passed, t.empty, t.streak = 0, 0, 0, 0 }

// decision is what the checks so far amount to.
type decision int

const (
	wait decision = iota
	pass
	fail
	inconclusive
)

// add counts a check.
func (t *tally) add(state State) decision {
	t.done++
	if state == NoValues && t.noValuesFail {
		state = Failed
	}
	if state == NoValues {
		t.empty++
		if t.streak++; t.streak >= t.threshold {
			return inconclusive
		}
		return wait
	}
	t.streak = 0
	if state == Passed {
		if t.passed++; t.passed >= t.checks {
			return pass
		}
		return wait
	}
	if t.failed++; t.failed >= t.threshold {
		return fail
	}
	return wait
}
