// Package prometheus asks Prometheus, in the one way that all of Serin uses.
package prometheus
