//go:build tools

// Package tools names the program that is built as its project has it.
package tools

import _ "github.com/fluxcd/flagger/cmd/flagger"
