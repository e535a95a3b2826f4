package simulation

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkRun plays rollouts of different cost.
func BenchmarkRun(b *testing.B) {
	often := func(w *World) { w.scrapes.every = 5 }
	for name, w := range map[string]World{
		"errors alone":      world(50, 0.001, 0.001),
		"shipped 5 rps":     asShipped(5, 0.1, 0.1, far),
		"shipped 50 rps":    asShipped(50, 0.1, 0.1, far),
		"shipped 500 rps":   asShipped(500, 0.1, 0.1, far),
		"scraped each 5 s":  asShipped(50, 0.1, 0.1, far).with(often),
		"shipped, 0.5 rps":  asShipped(0.5, 0.1, 0.1, far),
		"pairs, three pods": asShipped(50, 0.1, 0.1, far).with(pods(3), func(w *World) { w.scrapes.replicas = 2 }),
	} {
		b.Run(name, func(b *testing.B) {
			p, err := w.place(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for i := uint64(0); b.Loop(); i++ {
				if _, err := p.live(rand.New(rand.NewPCG(1, i))).judged(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
