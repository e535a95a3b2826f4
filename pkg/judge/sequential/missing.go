package sequential

import "math"

// mostMissing is shown where no number of requests would do.
const mostMissing = 1e9

// missing is how many requests of the canary are still needed, on average, to prove that it is not worse
// by a margin: where both arms have the same rate, and the canary gets a share of the requests.
func missing(share, rate, margin, acquit, beta float64) (requests, growth float64) {
	null := project(rates{share, 1 - share}, rates{rate, rate}, margin)
	growth = divergence(rate, null.canary) + (1-share)/share*divergence(rate, null.primary)
	lacking := max(0, math.Log(1/(beta*acquit)))
	if need := math.Ceil(lacking / growth); need < mostMissing {
		return need, growth
	}
	return mostMissing, growth
}

func divergence(a, b float64) float64 {
	return a*math.Log(a/b) + (1-a)*math.Log((1-a)/(1-b))
}

// Missing is how many requests of the canary are still needed to prove it, at a level β, if it is as good
// as its primary and goes on getting its share of the requests.
func (m *Metric) Missing(share, beta float64) float64 {
	share = min(max(share, 0.001), 0.999)
	requests, _ := missing(share, m.pooled(), m.Margin, m.Acquit(), beta)
	return min(math.Ceil(requests*m.design), mostMissing)
}
