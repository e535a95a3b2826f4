// Package replay judges a rollout that is over, with both judges, from what Prometheus counted at the time.
//
// The judges are those of the steps. They ask at the times at which they would have asked then, on a clock that
// does not make them wait. What they read is read once, and can be kept in a file
// that replays the same without Prometheus.
package replay
