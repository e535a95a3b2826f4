package judge

import "time"

// LongestStage is how long any stage of a run may last without a verdict: the last one, which proves, has the longest.
func (c Config) LongestStage() time.Duration {
	c.Sequential.Gate = "prove"
	return c.deadline()
}
