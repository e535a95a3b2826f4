// Package apitest gives a test package a real Kubernetes API server.
//
// The server, its etcd and, if asked for, the controller manager are processes on the loopback
// interface, with the custom resources of Istio and Tekton. There is no node: Kubelet plays one.
package apitest
