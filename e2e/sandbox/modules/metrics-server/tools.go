//go:build tools

// Package tools names the program that is built as its project has it.
package tools

import _ "sigs.k8s.io/metrics-server/cmd/metrics-server"
