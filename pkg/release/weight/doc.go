// Package weight is the one writer of weights: it changes a route and the record of the run in one patch.
package weight
