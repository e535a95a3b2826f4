// Package autoscaler gives the primary an autoscaler like the target's, which itself works only while there is a
// canary.
package autoscaler
