package main

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// TestKindsThatAreNotInstalled asks for those that the API server has no definition of.
func TestKindsThatAreNotInstalled(t *testing.T) {
	a := releasetest.Bare(t)
	for group, want := range map[string]string{
		"tekton.dev": "Tekton Pipelines is not installed there", "networking.istio.io": "Istio is not installed there",
		"example.com": "what this asks for is not installed there",
	} {
		of := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "nosuches"}
		_, err := a.Cluster.Objects(of, a.Namespace).List(t.Context(), metav1.ListOptions{})
		if err = told(root(), err); failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", group, err, want)
		}
	}
}

// TestNamespaceThatIsNot is told by each command that finds nothing there.
func TestNamespaceThatIsNot(t *testing.T) {
	at := []string{"--kubeconfig", apitest.KubeconfigOf(t), "-n", "no-such"}
	for _, command := range []string{"status", "history", "watch shop", "explain shop", "logs shop", "start shop",
		"rollback shop --param app=shop", "abort shop", "adopt shop", "eject shop", "remove shop"} {
		_, err := called(t, append(strings.Fields(command), at...)...)
		if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), "there is no namespace no-such") {
			t.Errorf("%s: error %v, want that there is no such namespace", command, err)
		}
	}
}
