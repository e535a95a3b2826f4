// Package screen draws a run on a terminal while it is followed.
package screen
