// Package interleaving is an API server in memory, for tests of how several programs work on the same objects at once.
//
// It does what Serin needs of the real one: JSON patches with tests, resource versions, watches that begin with what
// exists. A test holds it against the real one. It admits anything: for what a server refuses or fills in, use apitest.
package interleaving
