// Package judge judges a canary from what Prometheus has counted: it asks, and goes on until there is a verdict.
//
// There are two judges, and neither changes anything. Nothing is stored: a judge that starts again reads the
// same samples at the same instants of Prometheus's clock, and comes to the same numbers.
//
// The sequential judge compares the canary with its primary over the same seconds, and goes on until there
// is enough evidence; package sequential has its mathematics, package counting reads the samples. A full
// reading happens once per interval; in between it looks every five seconds for a canary that fails nearly
// every request. Metrics that you name are limits as well: a canary that is outside while its primary is
// inside fails after threshold checks.
//
// The classic judge checks the canary against fixed bounds and behaves like Flagger; package classic has its
// metrics and its counting of checks.
package judge
