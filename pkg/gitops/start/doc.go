// Package start makes one PipelineRun for each revision of an application that is to be released, and follows it.
package start
