// Package gcp stands in for the client of Google's key service, which nobody calls in a sandbox and which compiles for
// long.
package gcp
