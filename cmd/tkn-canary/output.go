package main

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// formatted refuses an output format that a command does not have.
func formatted(output string, known ...string) error {
	if slices.Contains(known, output) {
		return nil
	}
	last := len(known) - 1
	return failure.Configf("reading output: %q, want %s or %s", output, strings.Join(known[:last], ", "), known[last])
}

// encode writes a value as yaml, or as indented JSON.
func encode(w io.Writer, output string, value any) error {
	if output != "yaml" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	text, err := yaml.Marshal(value)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}
