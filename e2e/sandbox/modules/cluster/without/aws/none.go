// Package aws stands in for the client of AWS's key service, which nobody calls in a sandbox and which compiles for
// long.
package aws
