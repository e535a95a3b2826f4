package simulation

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1})))
	os.Exit(m.Run())
}

// BenchmarkRun plays rollouts of the kinds that cost most.
func BenchmarkRun(b *testing.B) {
	for name, w := range map[string]World{
		"shipped, 50 rps":  asShipped(50, 0.1, 0.1, far),
		"shipped, 500 rps": asShipped(500, 0.1, 0.1, far),
		"shipped, 5 rps":   asShipped(5, 0.1, 0.1, far),
		"errors, 50 rps":   world(50, 0.001, 0.001),
	} {
		for of, play := range map[string]player{"judge": (*life).judged, "flagger": (*life).flagger,
			"kayenta": (*life).kayenta} {
			b.Run(name+", "+of, func(b *testing.B) {
				p, err := w.place(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				for i := uint64(0); b.Loop(); i++ {
					if _, err := play(p.live(rand.New(rand.NewPCG(1, i))), b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
