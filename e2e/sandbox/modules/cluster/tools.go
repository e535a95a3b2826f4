//go:build tools

// Package tools names the programs that are built as their projects have them.
package tools

import (
	_ "github.com/tektoncd/pipeline/cmd/controller"
	_ "github.com/tektoncd/pipeline/cmd/entrypoint"
	_ "github.com/tektoncd/pipeline/cmd/webhook"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
)
