// Package limits says how long a run of a Pipeline may take, so that its finally is reached.
package limits

import (
	"time"

	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Of are the limits that a run of a Pipeline needs whose tasks follow one another, nil where Tekton's hour will do.
func Of(p pipeline.PipelineSpec) *pipeline.TimeoutFields {
	sum := func(tasks []pipeline.PipelineTask) (all time.Duration) {
		for _, t := range tasks {
			if t.Timeout != nil {
				all += time.Duration(1+t.Retries) * t.Timeout.Duration
			}
		}
		return all + 30*time.Second // for Tekton itself
	}
	tasks, finally := sum(p.Tasks), sum(p.Finally)
	if tasks+finally <= time.Hour {
		return nil
	}
	return &pipeline.TimeoutFields{
		Pipeline: &metav1.Duration{Duration: tasks + finally}, Tasks: &metav1.Duration{Duration: tasks},
		Finally: &metav1.Duration{Duration: finally},
	}
}
