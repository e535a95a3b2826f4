// Package report tells people and programs how a canary was judged.
package report
