// Package policy finds the policies that do not hold for the target's pods and the primary's alike.
package policy
