// Package traffic computes the patch that gives the canary a share of a VirtualService's traffic.
package traffic
