// Package scale plays the releases of many applications at once against one real API server.
//
// The API server, its controllers, Prometheus and the programs of the steps are real. Nodes, proxies, callers and
// Tekton are simulated: pods become ready as soon as they are made, requests are counted as the routes say without
// being sent, and the Pipeline's steps are started one after the other as processes of this machine.
package scale
