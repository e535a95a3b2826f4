// Package packing packs Serin for a cluster.
package packing
