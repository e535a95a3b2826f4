package workload

// Advance follows how far the pods of a Deployment are. It counts as progress what the Deployment controller counts for
// the condition Progressing: more pods of the present template, more of them ready or available, or fewer others. Each
// level counts once, so a pod that becomes ready and crashes in turns makes no progress.
type Advance struct {
	started                         bool
	generation                      int64 // of the Deployment's spec that the levels are of
	updated, ready, available, rest int32
}

// Made says whether the pods are further than they ever were.
func (a *Advance) Made(d *Deployment) bool {
	s := d.Status
	if s.ObservedGeneration < d.Generation {
		return false // the status is of an earlier spec
	}
	rest := s.Replicas - s.UpdatedReplicas
	if !a.started || a.generation != s.ObservedGeneration {
		first := !a.started
		*a = Advance{true, s.ObservedGeneration, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas, rest}
		return first
	}
	made := s.UpdatedReplicas > a.updated || s.ReadyReplicas > a.ready || s.AvailableReplicas > a.available ||
		rest < a.rest
	a.updated, a.ready = max(a.updated, s.UpdatedReplicas), max(a.ready, s.ReadyReplicas)
	a.available, a.rest = max(a.available, s.AvailableReplicas), min(a.rest, rest)
	return made
}
