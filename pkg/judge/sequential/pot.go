package sequential

import "math"

const (
	share   = 0.01 // of all wealth is dealt out anew at each stratum
	kept    = 0.5  // of each expert's wealth at a new weight
	floor   = 0.05 // of an expert's wealth is never at stake
	mostWin = 14   // times its stake is the most that an expert gains by one stratum
	richest = 1e100
	experts = 9 // in the larger pot
)

var logMostWin = math.Log(mostWin)

var (
	blamePrior  = []float64{0.1, 0.1125, 0.1125, 0.1125, 0.1125, 0.1125, 0.1125, 0.1125, 0.1125}
	acquitPrior = []float64{0.1, 0.6, 0.3}
	// blameSteps are the differences that the experts of the blame pot expect, the last one apart, which
	// expects what it has seen.
	blameSteps = []float64{0.0025, 0.005, 0.01, 0.02, 0.05, 0.15, 0.5}
)

// pot is wealth spread over experts, the first of which sits out.
type pot struct {
	prior  []float64
	wealth [experts]float64
	most   float64 // that was ever in the pot
}

func newPot(prior []float64) pot {
	p := pot{prior: prior, most: 1}
	copy(p.wealth[:], prior)
	return p
}

func (p *pot) total() float64 {
	sum := 0.0
	for _, w := range p.wealth[:len(p.prior)] {
		sum += w
	}
	return sum
}

// bet lets every expert bet on the logarithm of its e-value.
func (p *pot) bet(logs *[experts]float64) {
	p.deal(share)
	for j := 1; j < len(p.prior); j++ {
		win := float64(mostWin)
		if logs[j] < logMostWin {
			win = math.Exp(logs[j])
		}
		p.wealth[j] = min(p.wealth[j]*(floor+(1-floor)*win), richest)
	}
	p.most = max(p.most, p.total())
}

// deal takes a share of each expert's wealth and gives it out by the prior.
func (p *pot) deal(share float64) {
	total := p.total()
	for j, prior := range p.prior {
		p.wealth[j] = (1-share)*p.wealth[j] + share*total*prior
	}
}
