// Package classic measures a workload against fixed bounds and counts its checks, as Flagger does.
//
// A check happens at each interval after the weight was set. The stage passes with its checks-th passed check, and
// fails when threshold checks have failed, counted over all stages of the rollout. A check without values (nobody
// called the canary) is a failed one with no-values: fail, as Flagger has it. With no-values: inconclusive it counts
// neither way, and the stage ends inconclusive after threshold such checks in a row, or when no further check fits
// before the deadline.
package classic
