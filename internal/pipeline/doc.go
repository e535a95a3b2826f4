// Package pipeline writes the Pipelines that release by canary, as YAML that people read.
package pipeline
