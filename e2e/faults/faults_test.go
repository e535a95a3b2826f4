package faults_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/e2e/faults"
	"github.com/serin-cd/serin/e2e/sandbox"
	"github.com/serin-cd/serin/e2e/trial"
)

// rate is the load on all applications together, in requests a second.
const rate = 150

var (
	whole = flag.String("faults", "",
		"names of faults to play at each moment, separated by commas, or all, or missing: what the table does not "+
			"show as passed")
	write = flag.String("write", "", "folder of the table, docs, to put the results in")
)

// installed is Serin on a sandbox of the test's own, or on that which SERIN_SANDBOX names.
func installed(t *testing.T) *trial.Installation {
	t.Helper()
	var sb *sandbox.Sandbox
	var err error
	if name := os.Getenv("SERIN_SANDBOX"); name != "" {
		sb, err = sandbox.Attach(name)
	} else {
		sb, err = sandbox.Up(t.Context(), sandbox.Options{Name: "faults", Out: os.Stderr, MetricsServer: true})
		t.Cleanup(func() {
			if sb != nil {
				if err := sb.Down(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	installation, err := trial.Install(t.Context(), sb, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return installation
}

// start deploys applications for the moments, which go with the test.
func start(t *testing.T, moments []faults.Moment) *faults.Round {
	t.Helper()
	installation := installed(t)
	round, err := faults.Start(t.Context(), installation, moments, rate, os.Stderr)
	if round != nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := round.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return round
}

// play plays pairs, fails the test for each that failed, and writes the table where that is asked for.
func play(t *testing.T, round *faults.Round, pairs []faults.Pair) {
	t.Helper()
	round.Play(t.Context(), pairs, func(p faults.Pair, r faults.Result) {
		t.Logf("%s, %s: %.1f s, %s, %d of %d requests lost", r.Moment, r.Fault, r.Seconds, r.By, r.Lost, r.Sent)
		if r.Failed != "" {
			t.Errorf("%s, %s: %s", r.Moment, r.Fault, r.Failed)
			round.Tell(t.Context(), p.Moment, os.Stderr)
		}
		if *write != "" {
			save(t, r)
		}
	})
}

// TestMatrix plays the faults that are asked for, each at every moment, and writes the table.
func TestMatrix(t *testing.T) {
	if *whole == "" {
		t.Skip("takes an hour and more: see make test-faults")
	}
	names := strings.Split(*whole, ",")
	var pairs []faults.Pair
	for _, f := range faults.Faults() {
		if *whole == "all" || contains(names, "missing") || contains(names, f.Name) {
			pairs = append(pairs, f.Pairs()...)
		}
	}
	if contains(names, "missing") {
		known, err := faults.Read(*write + "/faults.json")
		if err != nil {
			t.Fatal(err)
		}
		pairs = slices.DeleteFunc(pairs, func(p faults.Pair) bool {
			return slices.ContainsFunc(known, func(r faults.Result) bool { return r.Of(p) && r.Failed == "" })
		})
	}
	if len(pairs) == 0 {
		t.Fatalf("there is nothing to play of %q", *whole)
	}
	var moments []faults.Moment
	for _, p := range pairs {
		if !slices.Contains(moments, p.Moment) {
			moments = append(moments, p.Moment)
		}
	}
	play(t, start(t, moments), pairs)
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if strings.TrimSpace(n) == name {
			return true
		}
	}
	return false
}

func save(t *testing.T, result faults.Result) {
	t.Helper()
	all, err := faults.Merge(*write+"/faults.json", result)
	if err == nil {
		err = os.WriteFile(*write+"/faults.md", []byte(faults.Page(all, rate)), 0o644)
	}
	if err != nil {
		t.Error(fmt.Errorf("writing the table: %w", err))
	}
}
