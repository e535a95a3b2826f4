package promotion

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/serin-cd/serin/pkg/gitops/environment"
	"github.com/serin-cd/serin/pkg/gitops/forge"
	"github.com/serin-cd/serin/pkg/gitops/repository"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Config says what is promoted, and where.
type Config struct {
	// Name of the application, as the environment's repository has it.
	App string `env:"APP, required"`
	// Name of the environment, such as production. It is part of the branch and of the label.
	Environment string `env:"ENVIRONMENT, required"`
	// Directory of the repository in which the environment is. Empty is its root.
	Directory string `env:"DIRECTORY"`
	// Layout of the environment: helmfile, chart, argo, flux, kustomize or values. Empty finds it.
	Layout string `env:"LAYOUT"`
	// Repository of the application's chart, for a first promotion. Empty takes that of the applications that are there.
	ChartRepository string `env:"CHART_REPOSITORY"`
	// Name of the application's chart, for a first promotion. Empty is that of the application.
	Chart string `env:"CHART"`
	// Namespace of the application's release, for a first promotion, if the layout has one.
	ReleaseNamespace string `env:"RELEASE_NAMESPACE"`
	// Name of who commits.
	AuthorName string `env:"AUTHOR_NAME, default=Serin"`
	// Address of who commits.
	AuthorEmail string `env:"AUTHOR_EMAIL, default=serin@localhost"`
}

// Promoter brings versions into the environment of a repository.
type Promoter struct {
	Config
	Remote *repository.Remote
	Forge  forge.Forge
}

// Promotion is a pull request for a version. There is none where the environment has the version already.
type Promotion struct {
	Pull    *forge.PullRequest
	From    string // the version until then, empty at a first promotion
	Version string
	First   bool // the application is new in the environment, so its first run is no canary
	Older   bool // the version is older than the one before
}

// change is what a promotion commits.
type change struct {
	branch, title, body string
	version             string
	labels              []string
}

// Promote opens a pull request that brings a version into the environment. One that is open for it is used again, on
// top of what the environment's branch has now.
func (p *Promoter) Promote(ctx context.Context, version string) (Promotion, error) {
	return p.propose(ctx, change{
		branch:  fmt.Sprintf("promote-%s-%s-%s", p.App, version, p.Environment),
		title:   fmt.Sprintf("chore: promote %s to version %s", p.App, version),
		body:    fmt.Sprintf("Version %s of %s is to serve in %s.", version, p.App, p.Environment),
		version: version,
		labels:  p.labels(),
	})
}

func (p *Promoter) labels() []string {
	return []string{"env/" + p.Environment, "dependency/" + p.App}
}

// Revert opens a pull request that brings the version back that the environment had before one, with a text that says
// why. It is the version of the newest commit that has another one, among the last 50.
func (p *Promoter) Revert(ctx context.Context, bad, why string) (Promotion, error) {
	before, err := p.before(ctx, bad)
	if err != nil || before == "" {
		return Promotion{}, err
	}
	return p.propose(ctx, change{
		branch:  fmt.Sprintf("revert-%s-%s-%s", p.App, bad, p.Environment),
		title:   fmt.Sprintf("fix: take %s back to version %s", p.App, before),
		body:    fmt.Sprintf("Version %s of %s was not released in %s.\n\n%s", bad, p.App, p.Environment, why),
		version: before,
		labels:  append(p.labels(), "revert"),
	})
}

// tries are how often a change is made anew on a branch that moves meanwhile.
const tries = 10

// propose commits a change on top of the environment's branch, and opens a pull request for it.
func (p *Promoter) propose(ctx context.Context, c change) (Promotion, error) {
	var made Promotion
	err := retry.Do(ctx, retry.WithMaxRetries(tries, retry.NewConstant(time.Second)), func(ctx context.Context) error {
		var err error
		made, err = p.once(ctx, c)
		if errors.Is(err, repository.ErrMoved) {
			return retry.RetryableError(err)
		}
		return err
	})
	return made, err
}

func (p *Promoter) once(ctx context.Context, c change) (Promotion, error) {
	clone, gone, err := p.clone(ctx, 1)
	if err != nil {
		return Promotion{}, err
	}
	defer gone()
	of, err := p.open(clone.Files())
	if err != nil {
		return Promotion{}, err
	}
	found, err := of.Promote(p.App, c.version, environment.Addition{Repository: p.ChartRepository, Chart: p.Chart,
		Namespace: p.ReleaseNamespace})
	if err != nil {
		return Promotion{}, err
	}
	made := Promotion{From: found.From, Version: c.version, First: found.First, Older: found.Downgrade}
	if len(found.Files) == 0 {
		slog.Info("nothing to promote", "app", p.App, "version", c.version, "environment", p.Environment)
		return made, nil
	}
	if err := p.push(ctx, clone, c, found.Files); err != nil {
		return Promotion{}, err
	}
	made.Pull, err = p.pull(ctx, c)
	return made, err
}

// push commits the change to its branch, unless that has the same on top of the same.
func (p *Promoter) push(ctx context.Context, clone *repository.Clone, c change, files map[string][]byte) error {
	branches, err := p.Remote.Branches(ctx)
	if err != nil {
		return err
	}
	if branches[p.Remote.Branch] != clone.Head() {
		return fmt.Errorf("promoting %s: branch %s: %w", p.App, p.Remote.Branch, repository.ErrMoved)
	}
	// the same change on top of the same commit is the same commit, whoever makes it and whenever
	at, err := clone.Time()
	if err != nil {
		return err
	}
	sha, err := clone.Commit(files, c.title, repository.Author{Name: p.AuthorName, Email: p.AuthorEmail}, at)
	if err != nil {
		return err
	}
	if branches[c.branch] == sha {
		return nil
	}
	slog.Info("pushing", "branch", c.branch, "commit", sha, "on", clone.Head())
	return clone.Push(ctx, sha, c.branch, branches[c.branch])
}

// pull is the pull request of a change, which is opened if there is none.
func (p *Promoter) pull(ctx context.Context, c change) (*forge.PullRequest, error) {
	found, err := p.Forge.Find(ctx, c.branch, p.Remote.Branch)
	if err != nil {
		return nil, err
	}
	if found == nil {
		if found, err = p.Forge.Open(ctx, c.branch, p.Remote.Branch, c.title, c.body); err != nil {
			return nil, err
		}
	}
	return found, p.Forge.Label(ctx, found.Number, c.labels...)
}

func (p *Promoter) open(files fs.FS) (*environment.Environment, error) {
	return environment.Open(files, environment.Options{Directory: p.Directory, Layout: environment.Layout(p.Layout)})
}

// clone is the environment's branch in a directory that gone deletes.
func (p *Promoter) clone(ctx context.Context, depth int) (c *repository.Clone, gone func(), err error) {
	at, err := os.MkdirTemp("", "environment-")
	if err != nil {
		return nil, nil, fmt.Errorf("cloning %s: %w", p.Remote.URL, err)
	}
	gone = func() { _ = os.RemoveAll(at) }
	if c, err = p.Remote.Clone(ctx, at, depth); err != nil {
		gone()
		return nil, nil, err
	}
	return c, gone, nil
}

// past is how many commits of an environment are searched for an earlier version.
const past = 50

// before is the version that the environment had before a bad one, empty where it has another already.
func (p *Promoter) before(ctx context.Context, bad string) (string, error) {
	clone, gone, err := p.clone(ctx, past)
	if err != nil {
		return "", err
	}
	defer gone()
	for n := range past {
		files, err := clone.Past(n)
		if errors.Is(err, repository.ErrNoCommit) {
			break
		}
		if err != nil {
			return "", err
		}
		version, err := p.version(files)
		switch {
		case n == 0 && (err != nil || version != bad):
			return "", err
		case err != nil || version == "" || version == bad:
			continue // before the application came, or when it could not be read
		}
		return version, nil
	}
	return "", failure.Configf("going back from version %s of %s in %s: none of the last %d commits has another one",
		bad, p.App, p.Remote.URL, past)
}

func (p *Promoter) version(files fs.FS) (string, error) {
	of, err := p.open(files)
	if err != nil {
		return "", err
	}
	for _, a := range of.Apps() {
		if a.Name == p.App {
			return a.Version, nil
		}
	}
	return "", nil
}
