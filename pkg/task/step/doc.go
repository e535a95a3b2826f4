// Package step is what every step program shares: environment in, results out, signals, log and exit code.
package step
