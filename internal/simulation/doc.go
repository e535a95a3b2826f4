// Package simulation plays rollouts with random traffic, to see how often the judge errs and how long it takes.
//
// Time passes in bins of five seconds. In each, Poisson many requests reach canary and primary by weight,
// and Poisson many of them fail. Counters are read every 15 seconds; a decision changes the weight, or
// ends the rollout, one bin later.
package simulation
