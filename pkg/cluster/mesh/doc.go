// Package mesh makes the Services, the DestinationRules and the VirtualService of an application, and computes the
// patch that splits its traffic.
package mesh
