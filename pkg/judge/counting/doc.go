// Package counting turns raw samples of Istio's counters into requests of a canary and of its primary.
//
// Counters start anew with their pods, appear with their first request, are scraped twice by pairs of
// Prometheus, and end with their proxies. What a series counted is the sum of its increments: from the
// newest sample before the window, or from zero if the series began inside it (Prometheus issues 3886
// and 12967: its own functions lose a series' first value, which may be a canary's first error).
package counting
