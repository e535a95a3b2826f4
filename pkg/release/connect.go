package release

import (
	"time"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Config says which application a program works on, and for which run.
type Config struct {
	Run run.ID `env:", prefix=RUN_"`
	// Name of the application: the Deployment that people change.
	App    string `env:"APP, required"`
	Routes mesh.Selection
}

// Connect takes the application in hand with the cluster of this process.
func (c Config) Connect() (*Release, error) {
	cluster, err := kube.Connect()
	if err != nil {
		return nil, err
	}
	r, err := New(cluster, c.App, c.Run)
	if err != nil {
		return nil, err
	}
	return r, r.Select(c.Routes)
}

// Patience says how long pods that start are waited for.
type Patience struct {
	// How long pods may take to become ready without progress: the canary's, and the primary's when it is promoted or
	// given its previous version back. Each pod that becomes ready begins it anew. Raise it if one pod of the
	// application takes longer to start.
	ProgressDeadline parameter.Duration `env:"PROGRESS_DEADLINE, default=60s"`
}

// Deadline is how long pods may take without progress.
func (p Patience) Deadline() time.Duration { return time.Duration(p.ProgressDeadline) }

// Settling says how pods are waited for, those that start and those that are no longer sent to.
type Settling struct {
	Patience
	// How long the canary's pods stay up at least after their traffic has gone. Raise it if proxies learn of a new
	// route slowly, or for streams and downloads that take longer: proxies count a request only when it ends.
	Drain parameter.Duration `env:"DRAIN, default=10s"`
	// How long after their traffic has gone the canary's pods wait for proxies that still send. Then the step fails and
	// the pods stay up, until a later run or the janitor finds nobody sending. If Prometheus cannot tell, all of it is
	// waited, and then the pods go. Empty is a minute, or drain if that is longer.
	DrainDeadline parameter.Span `env:"DRAIN_DEADLINE"`
	Prometheus    prometheus.Config
}

// longestDrain is how long the pods wait at most where nothing else is asked for.
const longestDrain = time.Minute

// LongestDrain is how long the pods wait for proxies at most.
func (s Settling) LongestDrain() time.Duration {
	if s.DrainDeadline == 0 {
		return max(time.Duration(s.Drain), longestDrain)
	}
	return time.Duration(s.DrainDeadline)
}

// Observe lets a release observe its drain.
func (s Settling) Observe(r *Release) error {
	least, most := time.Duration(s.Drain), s.LongestDrain()
	if most < least {
		return failure.Configf("reading drain-deadline: %s, want at least drain, %s: raise drain-deadline, or lower "+
			"drain", most, least)
	}
	return r.DrainBy(s.Prometheus, least, most)
}

// ConnectSettling is Connect for a program that may settle the application.
func (c Config) ConnectSettling(s Settling) (*Release, error) {
	r, err := c.Connect()
	if err != nil {
		return nil, err
	}
	return r, s.Observe(r)
}
