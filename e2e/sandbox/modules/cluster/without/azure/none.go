// Package azure stands in for the client of Azure's key service, which nobody calls in a sandbox and which compiles for
// long.
package azure
