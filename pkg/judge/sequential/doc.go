// Package sequential compares a canary with its primary over the same seconds, and says after each
// interval whether there is enough evidence.
//
// Requests are counted in cells of a grid. Closed cells are added up until both arms have a few
// requests; such a stratum is one 2×2 table, and for each table an e-value is computed: a number whose
// expectation is at most 1 while the canary is no worse than the primary by more than a tolerance,
// whatever the rates are and however they change together (Turner, Ly, Grünwald, "Generic E-variables
// for exact sequential k-sample tests that allow for optional stopping", 2024). Experts that expect
// differences of different sizes bet their wealth on it; wealth is shared out a little after every
// stratum (Herbster, Warmuth, "Tracking the Best Expert", 1998). By Ville's inequality the whole wealth
// ever reaches 1/α with probability at most α, so that one may look after every interval and stop
// whenever there is enough.
//
// Two pots are kept for each proportion: blame grows while the canary is worse, acquit while it is shown
// not to be. No single interval can convict, and none can wipe out what earlier ones have shown: counters
// are read a few seconds apart, and a shared outage must not become the canary's fault.
//
// Everything here is a function of its arguments: there is no clock, and nothing is stored.
package sequential
