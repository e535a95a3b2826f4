// Package disruption gives the primary a PodDisruptionBudget like the target's.
package disruption
