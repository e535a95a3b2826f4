// Package recording writes what a terminal shows while a release is watched, as an asciicast and as a picture that
// moves.
package recording
