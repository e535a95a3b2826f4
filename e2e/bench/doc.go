// Package bench measures what Serin promises, and sets it beside what was wanted.
package bench
