// Package report shows people how a canary was judged: as a table, as Markdown, and as a page with plots.
package report
