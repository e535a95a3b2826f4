// Package timeout computes how long the tasks of a run may take, from the parameters that decide it.
package timeout
