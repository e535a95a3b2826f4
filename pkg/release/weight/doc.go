// Package weight keeps the record of a release on its VirtualService, and is the only writer of weights.
package weight
