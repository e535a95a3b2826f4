// Package packing packs Serin: its steps for a cluster, and tkn-canary for people's machines.
package packing
