// Package schemas holds the schemas of other projects' objects of which this documentation has examples.
package schemas
