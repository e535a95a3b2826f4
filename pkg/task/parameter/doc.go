// Package parameter is what a program's parameters are: their types, and their names, defaults and rules as the tags of
// a configuration tell them.
package parameter
