// Package catalog writes Serin's Tasks and their pages from the configuration of their steps.
package catalog
