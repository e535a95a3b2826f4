// Package drain observes whether proxies still send to a canary after its weight went to 0.
package drain
