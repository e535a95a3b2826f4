// Package summary sums a run up: how it ended, and what its judge saw, kept as a ConfigMap of the PipelineRun.
package summary
