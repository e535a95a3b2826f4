// Package verdict is what a judging ends with: a decision, the reason for it in words, and the numbers behind it.
//
// A Verdict is the same thing from end to end. The judges fill it in, a step sets its results from it, its JSON form
// is logged and kept, and reports are drawn from it. It is data: nothing here asks Prometheus or the cluster.
package verdict
