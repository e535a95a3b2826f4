package promotion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/serin-cd/serin/pkg/gitops/forge"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Waiting says when a pull request may be merged, and by whom.
type Waiting struct {
	// Names of the statuses that its head must have, separated by commas, besides those that the forge requires. All
	// others that it has must be green too.
	Statuses []string `env:"STATUSES"`
	// Whether it is merged as soon as all are green: auto; or whether a person merges it: manual.
	Promotion string `env:"PROMOTION, default=auto"`
	// How long it may take until it is merged.
	Deadline parameter.Duration `env:"DEADLINE, default=1h"`
}

func (w Waiting) check() error {
	if w.Promotion != "auto" && w.Promotion != "manual" {
		return failure.Configf("reading promotion: %q, want auto or manual", w.Promotion)
	}
	return nil
}

// The pauses between looks at a pull request: a forge tells nobody outside of a webhook.
const (
	firstPause = time.Second
	lastPause  = 10 * time.Second
	stuck      = 15 * time.Second // how long a forge may work on a head until it counts as in conflict
)

// Await waits until the pull request of a version is merged, merges it if it may, and is the SHA of the merge. One that
// is in conflict is made anew on the environment's new head. One that is closed without being merged is an error, and
// so is a status that has failed.
func (p *Promoter) Await(ctx context.Context, version string, number int, w Waiting) (*forge.PullRequest, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(w.Deadline), fmt.Errorf("not merged within %s: look at "+
		"what its checks wait for, or raise deadline", time.Duration(w.Deadline)))
	defer cancel()
	look := waiting{Promoter: p, Waiting: w, version: version}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		pull, err := p.Forge.Get(ctx, number)
		if err != nil {
			return nil, err
		}
		done, err := look.at(ctx, pull)
		if err != nil || done {
			return pull, err
		}
		select {
		case <-ctx.Done():
			return pull, fmt.Errorf("awaiting %s: %w", pull.URL, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// waiting is what is known of a pull request from look to look.
type waiting struct {
	*Promoter
	Waiting
	version string
	told    string
	sha     string    // that was looked at
	since   time.Time // when that was in conflict first
}

func (w *waiting) at(ctx context.Context, pull *forge.PullRequest) (done bool, err error) {
	switch {
	case pull.Merged:
		slog.Info("merged", "pull-request", pull.URL, "commit", pull.MergeSHA)
		return true, nil
	case pull.Closed:
		return false, failure.Rejectedf("pull request %s was closed and not merged", pull.URL)
	case pull.Fork:
		return false, failure.Configf("pull request %s comes from a fork, want one from the repository itself", pull.URL)
	}
	missing, err := w.missing(ctx, pull)
	if err != nil {
		return false, err
	}
	if pull.Conflict {
		return false, w.conflict(ctx, pull)
	}
	w.since = time.Time{}
	switch {
	case len(missing) > 0:
		w.tell(pull, "waits for "+strings.Join(missing, ", "))
		return false, nil
	case w.Promotion == "manual":
		w.tell(pull, "waits for a person to merge it")
		return false, nil
	}
	w.tell(pull, "all is green")
	err = w.Forge.Merge(ctx, pull.Number, pull.SHA, pull.Title)
	if errors.Is(err, forge.ErrNotYet) {
		w.tell(pull, "the forge does not merge it yet")
		return false, nil
	}
	return false, err // the next look tells the commit
}

// missing are the statuses that are not green yet. One that has failed is an error.
func (w *waiting) missing(ctx context.Context, pull *forge.PullRequest) ([]string, error) {
	all, err := w.Forge.Statuses(ctx, pull.SHA)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, s := range all {
		switch s.State {
		case forge.Failure:
			return nil, failure.Rejectedf("pull request %s: status %s has failed: %s", pull.URL, s.Name, s.Text)
		case forge.Pending:
			missing = append(missing, s.Name)
		}
	}
	for _, name := range w.Statuses {
		if !slices.ContainsFunc(all, func(s forge.Status) bool { return s.Name == name }) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// conflict makes a pull request anew that cannot be merged for a while: a forge may only be working on it.
func (w *waiting) conflict(ctx context.Context, pull *forge.PullRequest) error {
	switch {
	case w.sha != pull.SHA || w.since.IsZero():
		w.sha, w.since = pull.SHA, time.Now()
		return nil
	case time.Since(w.since) < stuck:
		return nil
	}
	w.since = time.Time{}
	w.tell(pull, "is in conflict: it is made anew on the new head")
	_, err := w.Promote(ctx, w.version)
	return err
}

// tell logs what has changed.
func (w *waiting) tell(pull *forge.PullRequest, text string) {
	if text += " at " + pull.SHA; text != w.told {
		w.told = text
		slog.Info(text, "pull-request", pull.URL)
	}
}
