// Package policy finds the policies that hold for the target's pods and do not hold for the primary's.
package policy
