// Package interleaving is an API server in memory, for tests of how several programs work on the same objects at once.
//
// It does what the real one does of what Serin uses: JSON patches with tests, resource versions, watches that begin with what
// exists. A test holds it against the real one. It admits anything: for what a server refuses or fills in, use apitest.
package interleaving
