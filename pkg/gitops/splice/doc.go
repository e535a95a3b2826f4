// Package splice edits a YAML file at one place, and leaves every other byte as it was.
package splice
