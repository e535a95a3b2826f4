// Package mesh makes the Services and the routing objects that an application needs at its first release.
package mesh
