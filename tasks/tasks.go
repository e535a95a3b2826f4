// Package tasks holds the YAML of Serin's Tasks.
package tasks

import "embed"

// Files are NAME/NAME.yaml.
//
//go:embed */*.yaml
var Files embed.FS
