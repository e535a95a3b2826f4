// Package inventory tells which version of each application serves in each environment.
package inventory
