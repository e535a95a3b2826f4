// Package workload reads and writes an application's two Deployments, the target and the primary.
package workload
