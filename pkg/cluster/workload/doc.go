// Package workload reads and writes the target and the primary, the Deployments of an application.
package workload
