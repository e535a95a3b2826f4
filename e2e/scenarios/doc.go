// Package scenarios holds the releases that must go right, and the ways in which they may go wrong, played
// with real traffic on a sandbox.
package scenarios
