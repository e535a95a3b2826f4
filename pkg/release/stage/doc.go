// Package stage gives the canary a share of the traffic and watches it while it is judged.
package stage
