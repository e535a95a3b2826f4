// Package trial plays releases of an application in a sandbox, as a team would that has Serin installed.
package trial
