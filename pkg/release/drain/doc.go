// Package drain observes whether proxies still send to a canary whose weight was taken away.
package drain
