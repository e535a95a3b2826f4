package bench

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/trial"
)

// How many requests are sent while applications are released again and again: to three at once, so that it takes a
// quarter of an hour.
const (
	wantRequests = 200_000
	lossless     = 3   // applications
	losslessRate = 100 // requests a second to each
)

// lossless promotes good versions and takes back bad ones, one after another, and counts the requests that nobody
// answered, or that another than the bad version failed.
func (b *bench) lossless(ctx context.Context) error {
	b.say("releasing %d applications again and again until %d requests are sent", lossless, wantRequests)
	group, ctx := errgroup.WithContext(ctx)
	all := make([]many, lossless)
	for i := range all {
		group.Go(func() error { return b.again(ctx, fmt.Sprintf("bench-%d", i+1), &all[i]) })
	}
	err := group.Wait()
	sum := many{}
	for _, m := range all {
		sum.promoted, sum.rolledBack, sum.sent, sum.bad = sum.promoted+m.promoted, sum.rolledBack+m.rolledBack,
			sum.sent+m.sent, sum.bad+m.bad
		sum.lost = append(sum.lost, m.lost...)
	}
	for _, a := range sum.lost[:min(len(sum.lost), 10)] {
		b.say("lost: %s after %s: status %d of version %q %s", a.At.Format("15:04:05.000"), a.Latency, a.Status,
			a.Version, a.Err)
	}
	note := fmt.Sprintf("of %d, at %d/s, over %d promotions and %d rollbacks; %d more were answered with a 500 by "+
		"the bad version itself", sum.sent, lossless*losslessRate, sum.promoted, sum.rolledBack, sum.bad)
	b.say("%d requests were lost %s", len(sum.lost), note)
	b.report.Add(Row{Part: "Lossless", What: "lost requests", Got: float64(len(sum.lost)), Rival: "0 of 64,050",
		Note: note})
	return err
}

// many is what became of one application's releases.
type many struct {
	promoted, rolledBack, sent, bad int
	lost                            []load.Answer
}

// again releases one application until it has had its part of the requests.
func (b *bench) again(ctx context.Context, namespace string, m *many) error {
	app, err := b.installation.NewApp(ctx, namespace, "shop", trial.V1)
	if err != nil {
		return err
	}
	defer func() { _ = app.Remove(context.WithoutCancel(ctx)) }()
	first, err := app.Start(ctx, "canary", "first", nil)
	if err != nil {
		return err
	}
	if _, err := first.Wait(ctx, 5*time.Minute); err != nil {
		return err
	}
	clients := app.Clients(ctx, losslessRate)
	for versions := []trial.Version{trial.V2, trial.V3}; m.sent*lossless < wantRequests; m.sent, _ = clients.Seen() {
		good := versions[m.promoted%len(versions)]
		if _, err = roll(ctx, app, fmt.Sprintf("good-%d", m.promoted+1), good, "promoted", nil); err != nil {
			break
		}
		m.promoted++
		if _, err = roll(ctx, app, fmt.Sprintf("bad-%d", m.rolledBack+1), trial.Errors, "rolled-back",
			nil); err != nil {
			break
		}
		m.rolledBack++
		b.say("%s: %d promoted, %d rolled back", namespace, m.promoted, m.rolledBack)
	}
	clients.Stop()
	var failed []load.Answer
	m.sent, failed = clients.Seen()
	for _, a := range failed {
		if a.Version == string(trial.Errors) {
			m.bad++
		} else {
			m.lost = append(m.lost, a)
		}
	}
	return err
}
