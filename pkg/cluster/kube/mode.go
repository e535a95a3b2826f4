package kube

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Mode is whether what is written counts.
type Mode bool

// Rehearsal is the mode in which the API server checks a write, with its webhooks and policies, and then forgets it.
const Rehearsal Mode = true

// Create are the options of a call that makes an object.
func (m Mode) Create() metav1.CreateOptions {
	o := metav1.CreateOptions{FieldManager: FieldManager}
	if m == Rehearsal {
		o.DryRun = []string{metav1.DryRunAll}
	}
	return o
}

// Patch are the options of a call that changes an object.
func (m Mode) Patch() metav1.PatchOptions {
	return metav1.PatchOptions{FieldManager: FieldManager, DryRun: m.Create().DryRun}
}
