// Package environment reads which versions the git repository of an environment asks for, and changes one of them.
package environment
