// Package faults breaks releases at every moment in every way that a cluster knows, under load, and measures what
// becomes of them.
package faults
