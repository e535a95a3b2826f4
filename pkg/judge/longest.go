package judge

import "time"

// Longest are how long a stage that only has a time box may last without a verdict, and how long the last one, which
// has to prove the canary.
func (c Config) Longest() (boxed, proving time.Duration) {
	early, last := c, c
	early.Sequential.Gate, last.Sequential.Gate = "time-box", "prove"
	return early.deadline(), last.deadline()
}
