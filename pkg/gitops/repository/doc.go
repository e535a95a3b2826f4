// Package repository reads and changes a git repository from afar: it clones one branch without its past, and pushes a
// commit for a head that was read. Tokens are never part of an address, an error or a remote.
package repository
