package repository

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/sethvargo/go-retry"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// Config says which repository is meant, and who asks.
type Config struct {
	// Address of the git repository over HTTPS, such as https://git.example.com/team/production.git, without user or
	// token.
	URL string `env:"GIT_URL, required"`
	// Branch that the environment is read from.
	Branch string `env:"GIT_BRANCH, default=main"`
	// User of the token. Most forges take any name.
	User string `env:"GIT_USER, default=serin"`
	// File with the token that may read and push to the repository. Empty asks without one.
	TokenPath string `env:"GIT_TOKEN_PATH"`
}

// Remote is a repository that may be asked.
type Remote struct {
	URL    string
	Branch string

	user, token string
}

// Remote reads the token, and refuses an address with a secret in it, which it does not repeat.
func (c Config) Remote() (*Remote, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return nil, failure.Configf("reading git-url: it is no URL, want one such as " +
			"https://git.example.com/team/production.git")
	case u.User != nil:
		return nil, failure.Configf("reading git-url: it has a user or token in it, want it without: put the token " +
			"into a file, and name that in git-token-path")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, failure.Configf("reading git-url: %q, want an address with https://", c.URL)
	}
	r := &Remote{URL: c.URL, Branch: c.Branch, user: c.User}
	if c.TokenPath == "" {
		return r, nil
	}
	text, err := os.ReadFile(c.TokenPath)
	if err != nil {
		return nil, failure.Configf("reading git-token-path: %w", err)
	}
	if r.token = strings.TrimSpace(string(text)); r.token == "" {
		return nil, failure.Configf("reading git-token-path: %s is empty, want a token in it", c.TokenPath)
	}
	return r, nil
}

// Token is that of the repository's forge, empty for none. It is a secret.
func (r *Remote) Token() string { return r.token }

// User is that of the token.
func (r *Remote) User() string { return r.user }

func (r *Remote) auth() transport.AuthMethod {
	if r.token == "" {
		return nil
	}
	return &http.BasicAuth{Username: r.user, Password: r.token}
}

// patience is how long a forge that is away is waited for, if the context allows.
const patience = 5 * time.Minute

// persist does something with a forge until it has an answer: one that is away is asked again, with pauses of up to
// 10 seconds.
func persist(ctx context.Context, do func(context.Context) error) error {
	pauses := retry.WithMaxDuration(patience, retry.WithCappedDuration(10*time.Second,
		retry.NewExponential(250*time.Millisecond)))
	return retry.Do(ctx, pauses, func(ctx context.Context) error {
		err := do(ctx)
		if err != nil && ctx.Err() == nil && away(err) {
			return retry.RetryableError(err)
		}
		return err
	})
}

// away says whether the other side has not answered, or only that it cannot now.
func away(err error) bool {
	if errors.Is(err, failure.ErrConfig) || errors.Is(err, ErrMoved) {
		return false
	}
	var network interface{ Timeout() bool }
	var status *http.Err
	if errors.As(err, &status) {
		return status.Response.StatusCode >= 500 || status.Response.StatusCode == 429
	}
	return errors.As(err, &network) || strings.Contains(err.Error(), "connection re") || strings.Contains(err.Error(),
		"EOF")
}

// explained words what a forge has refused.
func (r *Remote) explained(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return failure.Configf("%s %s: %w: the token in git-token-path has to be one that may read and push there",
			doing, r.URL, err)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return failure.Configf("%s %s: %w: want a repository that is there, and that the token may read", doing, r.URL,
			err)
	}
	return fmt.Errorf("%s %s: %w", doing, r.URL, err)
}
