package main

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/report/replay"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// How long a Prometheus that does not answer is asked again: at first, and once it has answered.
const (
	patience = 15 * time.Second
	longest  = 10 * time.Minute
)

// past is what the flags of record and replay say.
type past struct {
	cluster    clusterFlags
	target     judge.Target
	rollout    string
	run        string
	until      string
	parameters map[string]string // of the judges
	server     map[string]string // of Prometheus
}

func (p *past) flags(cmd *cobra.Command) {
	p.parameters, p.server = map[string]string{}, map[string]string{}
	f := cmd.Flags()
	p.cluster.add(cmd)
	f.StringVar(&p.target.Canary, "canary", "", "workload that was judged: the application's Deployment")
	f.StringVar(&p.target.Primary, "primary", "",
		"workload that served meanwhile (default: the canary's name with -primary)")
	f.StringVar(&p.target.CanaryService, "canary-service", "",
		"Service in front of the canary alone (default: the canary's name with -canary)")
	f.StringVar(&p.target.PrimaryService, "primary-service", "",
		"Service in front of the primary alone (default: the primary's name)")
	f.StringVar(&p.rollout, "rollout", "", "weights and their times, as the record of a run has them: "+
		`JSON such as {"phases": [{"weight": 20, "at": "2026-11-23T10:00:00Z"}]}, or @FILE`)
	f.StringVar(&p.run, "run", "",
		"name of the PipelineRun whose weights and times are taken from the cluster")
	f.StringVar(&p.until, "until", "", "RFC 3339 time at which the past ends "+
		"(default: when the run ended, or when both judges must have come to a verdict)")
	offer(cmd, p.parameters, replay.Parameters())
	offer(cmd, p.server, parameter.Of(prometheus.Config{}))
	if gate := f.Lookup("gate"); gate != nil {
		gate.DefValue = ""
		gate.Usage += " (default time-box, and prove in the last stage)"
	}
}

// read asks the cluster, if need be, and Prometheus for its time.
func (p *past) read(ctx context.Context) (*replay.Past, replay.Rollout, judge.Config, error) {
	config, err := replay.ConfigOf(ctx, p.parameters)
	if err != nil {
		return nil, replay.Rollout{}, config, err
	}
	rollout, err := p.happened(ctx)
	if err != nil {
		return nil, rollout, config, err
	}
	latest, err := rollout.Until(config)
	if err != nil {
		return nil, rollout, config, err
	}
	var server prometheus.Config
	if err := parameter.Decode(ctx, p.server, &server); err != nil {
		return nil, rollout, config, err
	}
	client, err := prometheus.New(server)
	if err != nil {
		return nil, rollout, config, err
	}
	wall := clock.RealClock{}
	now, err := client.Retrying(wall.Now().Add(patience), wall).Now(ctx)
	if err != nil {
		return nil, rollout, config, err
	}
	asker := client.Limited(int(config.SeriesLimit)).Retrying(wall.Now().Add(longest), wall)
	end, err := p.end(rollout, latest, now)
	return replay.New(asker, end), rollout, config, err
}

// happened is what the rollout was.
func (p *past) happened(ctx context.Context) (replay.Rollout, error) {
	target := p.target
	if target.Namespace = p.cluster.namespace; p.run != "" && p.rollout == "" {
		return p.ran(ctx, target)
	}
	needed := []struct{ name, value string }{{"namespace", target.Namespace}, {"canary", target.Canary}}
	for _, required := range needed {
		if required.value == "" {
			return replay.Rollout{}, failure.Configf("reading %s: no value, want one", required.name)
		}
	}
	if target.Primary == "" {
		target.Primary = target.Canary + "-primary"
	}
	switch {
	case p.run != "" && p.rollout != "":
		return replay.Rollout{}, failure.Configf("reading rollout: run %s is given too, want one of both", p.run)
	case p.rollout == "":
		return replay.Rollout{}, failure.Configf(
			"reading rollout: no value, want phases as JSON, @FILE, or the name of a run")
	}
	text := p.rollout
	if file, ok := strings.CutPrefix(text, "@"); ok {
		read, err := os.ReadFile(file)
		if err != nil {
			return replay.Rollout{}, failure.Configf("reading rollout: %w", err)
		}
		text = string(read)
	}
	return replay.ParseRollout(text, target)
}

// ran is what a run of the cluster was.
func (p *past) ran(ctx context.Context, target judge.Target) (replay.Rollout, error) {
	cluster, namespace, err := p.cluster.connect()
	if err != nil {
		return replay.Rollout{}, err
	}
	if target.Namespace = namespace; target.Canary == "" {
		return replay.Rollout{}, failure.Configf("reading canary: no value, want one")
	}
	target.Primary = cmp.Or(target.Primary, target.Canary+"-primary")
	return replay.OfRun(ctx, cluster, target, p.run)
}

// end is where the past ends: not later than now.
func (p *past) end(rollout replay.Rollout, end, now time.Time) (time.Time, error) {
	begin := rollout.Stages[len(rollout.Stages)-1].At
	if !begin.Before(now) {
		return now,
			failure.Configf("replaying %s: phase %d begins at %s, and Prometheus has %s: want a rollout of the past",
				rollout.Target.Canary, len(rollout.Stages), begin.UTC().Format(time.RFC3339), now.Format(time.RFC3339))
	}
	if p.until != "" {
		given, err := p.given()
		if err != nil {
			return end, err
		}
		end = given
		if end.After(now) {
			return end, failure.Configf("reading until: %s, want a time in the past: Prometheus has %s",
				p.until, now.Format(time.RFC3339))
		}
	}
	if end.After(now) {
		end = now
	}
	if !end.After(begin) {
		return end, failure.Configf("reading until: %s, want a time after %s, when phase %d began",
			end.UTC().Format(time.RFC3339),
			begin.UTC().Format(time.RFC3339), len(rollout.Stages))
	}
	return end, nil
}

func (p *past) given() (time.Time, error) {
	at, err := time.Parse(time.RFC3339, p.until)
	if err != nil {
		return at, failure.Configf("reading until: %q, want a time such as 2026-11-23T10:30:00Z", p.until)
	}
	return at, nil
}

// quiet keeps from stderr what the judges log: the result says it all.
func quiet(cmd *cobra.Command) {
	slog.SetDefault(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError})))
}
