// Package apitest gives test packages a real Kubernetes API server.
// Each starts one of its own, unless SERIN_APISERVER names the kubeconfig of one that they share.
//
// The server, its etcd and, if asked for, the controller manager are processes on the loopback
// interface, with the custom resources of Istio, Tekton and KEDA. There is no node: Kubelet plays one.
package apitest
