// Package record says which run has an application and how far it is.
package record
