// Package simulation plays rollouts with random traffic through the whole judge, to see how often it errs and how
// long it takes.
//
// Time is virtual and passes in seconds. In each, Poisson many requests reach canary and primary by weight; proxies
// count them as Istio's do, and a Prometheus of the simulation's own scrapes the proxies and answers the judge with
// raw samples. A decision changes the weight, or ends the rollout, five seconds later.
package simulation
