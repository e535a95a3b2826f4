// Package recording plays a release in a sandbox, and records how `tkn canary watch` shows it.
package recording
