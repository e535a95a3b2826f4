// Package kube reaches the Kubernetes API with clients that are small enough for a step.
package kube
