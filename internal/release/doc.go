// Package release packs Serin for a cluster.
package release
