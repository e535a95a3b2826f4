package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jenkins-x/go-scm/scm"
	"github.com/jenkins-x/go-scm/scm/factory"

	"github.com/serin-cd/serin/pkg/gitops/repository"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Kinds are those that a forge may be of, as parameters name them.
var Kinds = []string{"github", "gitlab", "gitea", "bitbucketcloud", "bitbucketserver"}

// Config says what the forge is, where the address of the repository does not.
type Config struct {
	// Kind of the forge: github, gitlab, gitea, bitbucketcloud or bitbucketserver. Empty knows github.com, gitlab.com
	// and bitbucket.org by the address of the repository.
	Forge string `env:"FORGE"`
}

// Forge is a repository, with its pull requests, as a promotion needs it. Errors that are of the configuration do not
// pass by waiting; others may.
type Forge interface {
	// Find is the open pull request from a branch of the repository itself to another, nil for none.
	Find(ctx context.Context, head, base string) (*PullRequest, error)
	// Open opens one.
	Open(ctx context.Context, head, base, title, body string) (*PullRequest, error)
	// Get is one by its number.
	Get(ctx context.Context, number int) (*PullRequest, error)
	// Describe changes title and body of one.
	Describe(ctx context.Context, number int, title, body string) error
	// Label adds labels to one.
	Label(ctx context.Context, number int, labels ...string) error
	// Comment says something below one.
	Comment(ctx context.Context, number int, body string) error
	// Merge merges one if its head is at a SHA; ErrNotYet where the forge refuses it for now.
	Merge(ctx context.Context, number int, sha, title string) error
	// Statuses are those of a commit, the newest of each name.
	Statuses(ctx context.Context, sha string) ([]Status, error)
	// SetStatus gives a commit a status.
	SetStatus(ctx context.Context, sha string, s Status) error
}

// ErrNotYet is the refusal to merge a pull request for now: the forge works on it, a check is missing, or its head is
// at another commit.
var ErrNotYet = errors.New("the forge does not merge it yet")

// PullRequest is one to the repository.
type PullRequest struct {
	Number   int
	URL      string
	Title    string
	Head     string // branch
	Base     string // branch
	SHA      string // of the head
	Fork     bool   // its head is in another repository
	Closed   bool   // merged or not
	Merged   bool
	MergeSHA string // of the commit that it became, empty where the forge does not tell
	Conflict bool   // it cannot be merged as it is, or the forge does not know yet
}

// The states of a Status.
const (
	Pending = "pending"
	Success = "success"
	Failure = "failure"
)

// Status is what a check says of a commit.
type Status struct {
	Name  string
	State string // pending, success or failure
	Text  string
	URL   string
}

// hosted is a repository of a forge that go-scm knows.
type hosted struct {
	client *scm.Client
	name   string // owner/name
	kind   string
}

// known are the kinds of forges by the hosts of their addresses.
var known = map[string]string{"github.com": "github", "gitlab.com": "gitlab", "bitbucket.org": "bitbucketcloud"}

// New is the forge of a repository.
func New(ctx context.Context, c Config, r *repository.Remote) (Forge, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, failure.Configf("reading git-url: %q, want a URL", r.URL)
	}
	kind := c.Forge
	if kind == "" {
		kind = known[u.Hostname()]
	}
	if !slices.Contains(Kinds, kind) {
		return nil, failure.Configf("reading forge: %q for %s, want one of %s", c.Forge, u.Host,
			strings.Join(Kinds, ", "))
	}
	name := strings.Trim(strings.TrimSuffix(u.Path, ".git"), "/")
	if kind == "bitbucketserver" {
		name = strings.TrimPrefix(name, "scm/")
	}
	if strings.Count(name, "/") < 1 {
		return nil, failure.Configf("reading git-url: path %q, want OWNER/NAME", u.Path)
	}
	server := ""
	if known[u.Hostname()] == "" {
		server = u.Scheme + "://" + u.Host
	}
	h := &hosted{name: name, kind: kind}
	return h, h.call(ctx, "connecting to "+u.Host, func() (_ *scm.Response, err error) {
		driver := map[string]string{"bitbucketserver": "stash"}[kind]
		if driver == "" {
			driver = kind
		}
		h.client, err = factory.NewClient(driver, server, r.Token(), factory.SetUsername(r.User()))
		return nil, err
	})
}

// patience is how long a forge that is away is waited for.
const patience = 5 * time.Minute

// call asks the forge, again where it is away; not every client of go-scm heeds a context, so none is waited for after
// its end.
func (h *hosted) call(ctx context.Context, doing string, do func() (*scm.Response, error)) error {
	type answer struct {
		response *scm.Response
		err      error
	}
	pause := 250 * time.Millisecond
	for end := time.Now().Add(patience); ; pause = min(2*pause, 10*time.Second) {
		answered := make(chan answer, 1)
		go func() {
			response, err := do()
			answered <- answer{response, err}
		}()
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
		case a := <-answered:
			err := h.explained(doing, a.response, a.err)
			if !errors.Is(err, errAway) || time.Now().After(end) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// errAway means that the forge has not answered, or cannot now.
var errAway = errors.New("the forge is away")

func (h *hosted) explained(doing string, response *scm.Response, err error) error {
	status := 0
	if response != nil {
		status = response.Status
	}
	var transport *url.Error
	switch {
	case err == nil && status < 300:
		return nil
	case errors.As(err, &transport):
		return fmt.Errorf("%s: %w: %w", doing, errAway, transport.Err) // its address may have a token
	case status >= 500, status == http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w: it answers %d", doing, errAway, status)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return failure.Configf("%s: the forge answers %d: the token in git-token-path has to have the rights to %s", doing,
			status, "read and write pull requests")
	case status == http.StatusNotFound, errors.Is(err, scm.ErrNotFound):
		return failure.Configf("%s: the forge answers 404: want a repository that is there, and that the token may read",
			doing)
	case errors.Is(err, ErrNotYet), status == 0:
		return fmt.Errorf("%s: %w", doing, err)
	case err == nil:
		err = errors.New(http.StatusText(status))
	}
	return fmt.Errorf("%s: %w (%d)", doing, err, status)
}

func (h *hosted) Find(ctx context.Context, head, base string) (*PullRequest, error) {
	for page := 1; ; page++ {
		var all []*scm.PullRequest
		err := h.call(ctx, "listing the pull requests of "+h.name, func() (response *scm.Response, err error) {
			all, response, err = h.client.PullRequests.List(ctx, h.name, &scm.PullRequestListOptions{
				Page: page, Size: 50, Open: true})
			return response, err
		})
		if err != nil || len(all) == 0 {
			return nil, err
		}
		for _, p := range all {
			if found := h.read(p); found.Head == head && found.Base == base && !found.Fork && !found.Closed {
				return found, nil
			}
		}
	}
}

func (h *hosted) Open(ctx context.Context, head, base, title, body string) (*PullRequest, error) {
	var made *scm.PullRequest
	err := h.call(ctx, fmt.Sprintf("opening a pull request from %s to %s of %s", head, base, h.name),
		func() (response *scm.Response, err error) {
			made, response, err = h.client.PullRequests.Create(ctx, h.name, &scm.PullRequestInput{Title: title,
				Head: head, Base: base, Body: body})
			return response, err
		})
	if err != nil {
		if there, asked := h.Find(ctx, head, base); asked == nil && there != nil {
			return there, nil // by another, or the answer was lost
		}
		return nil, err
	}
	return h.read(made), nil
}

func (h *hosted) Get(ctx context.Context, number int) (*PullRequest, error) {
	var found *scm.PullRequest
	err := h.call(ctx, fmt.Sprintf("reading pull request %d of %s", number, h.name),
		func() (response *scm.Response, err error) {
			found, response, err = h.client.PullRequests.Find(ctx, h.name, number)
			return response, err
		})
	if err != nil {
		return nil, err
	}
	return h.read(found), nil
}

func (h *hosted) read(p *scm.PullRequest) *PullRequest {
	r := &PullRequest{Number: p.Number, URL: p.Link, Title: p.Title, Head: p.Source, Base: p.Target, SHA: p.Sha,
		Closed: p.Closed || p.Merged, Merged: p.Merged, MergeSHA: p.MergeSha, Conflict: !p.Mergeable}
	if r.SHA == "" {
		r.SHA = p.Head.Sha
	}
	from, to := p.Head.Repo.FullName, p.Base.Repo.FullName
	r.Fork = from != "" && to != "" && !strings.EqualFold(from, to)
	return r
}

func (h *hosted) Describe(ctx context.Context, number int, title, body string) error {
	return h.call(ctx, fmt.Sprintf("describing pull request %d of %s", number, h.name),
		func() (*scm.Response, error) {
			_, response, err := h.client.PullRequests.Update(ctx, h.name, number,
				&scm.PullRequestInput{Title: title, Body: body})
			return response, err
		})
}

// longestLabel is how many characters a label has at most.
const longestLabel = 49

func (h *hosted) Label(ctx context.Context, number int, labels ...string) error {
	for _, label := range labels {
		label = label[:min(len(label), longestLabel)]
		err := h.call(ctx, fmt.Sprintf("labelling pull request %d of %s %s", number, h.name, label),
			func() (*scm.Response, error) {
				response, err := h.client.PullRequests.AddLabel(ctx, h.name, number, label)
				if errors.Is(err, scm.ErrNotSupported) {
					return nil, nil // Bitbucket has none
				}
				return response, err
			})
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *hosted) Comment(ctx context.Context, number int, body string) error {
	return h.call(ctx, fmt.Sprintf("commenting on pull request %d of %s", number, h.name),
		func() (*scm.Response, error) {
			_, response, err := h.client.PullRequests.CreateComment(ctx, h.name, number, &scm.CommentInput{Body: body})
			return response, err
		})
}

func (h *hosted) Merge(ctx context.Context, number int, sha, title string) error {
	return h.call(ctx, fmt.Sprintf("merging pull request %d of %s at %s", number, h.name, sha),
		func() (*scm.Response, error) {
			var response *scm.Response
			var err error
			if h.kind == "gitea" { // go-scm leaves the SHA out
				response, err = h.send(ctx, http.MethodPost, fmt.Sprintf("api/v1/repos/%s/pulls/%d/merge", h.name, number),
					map[string]any{"Do": "merge", "MergeTitleField": title, "head_commit_id": sha})
			} else {
				response, err = h.client.PullRequests.Merge(ctx, h.name, number,
					&scm.PullRequestMergeOptions{SHA: sha, CommitTitle: title})
			}
			if response != nil && (response.Status == http.StatusMethodNotAllowed ||
				response.Status == http.StatusConflict || response.Status == http.StatusNotAcceptable) {
				return nil, ErrNotYet
			}
			return response, err
		})
}

// send asks the forge for what go-scm does not.
func (h *hosted) send(ctx context.Context, method, path string, body any) (*scm.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	response, err := h.client.Do(ctx, &scm.Request{Method: method, Path: path, Body: bytes.NewReader(text),
		Header: http.Header{"Content-Type": {"application/json"}}})
	if err != nil {
		return nil, err
	}
	return response, response.Body.Close()
}

func (h *hosted) Statuses(ctx context.Context, sha string) ([]Status, error) {
	var all []Status
	seen := map[string]bool{}
	for page := 1; ; page++ {
		var found []*scm.Status
		err := h.call(ctx, fmt.Sprintf("reading the statuses of commit %s of %s", sha, h.name),
			func() (response *scm.Response, err error) {
				found, response, err = h.client.Repositories.ListStatus(ctx, h.name, sha,
					&scm.ListOptions{Page: page, Size: 50})
				return response, err
			})
		if err != nil {
			return nil, err
		}
		for _, s := range found { // the newest is first
			if seen[s.Label] {
				continue
			}
			seen[s.Label] = true
			all = append(all, Status{Name: s.Label, State: stateOf(s.State), Text: s.Desc, URL: s.Target})
		}
		if len(found) < 50 {
			return all, nil
		}
	}
}

func stateOf(s scm.State) string {
	switch s {
	case scm.StateSuccess:
		return Success
	case scm.StatePending, scm.StateRunning, scm.StateExpected, scm.StateUnknown:
		return Pending
	}
	return Failure
}

func (h *hosted) SetStatus(ctx context.Context, sha string, s Status) error {
	state := map[string]scm.State{Success: scm.StateSuccess, Pending: scm.StatePending, Failure: scm.StateFailure}[s.State]
	return h.call(ctx, fmt.Sprintf("setting status %s of commit %s of %s", s.Name, sha, h.name),
		func() (*scm.Response, error) {
			_, response, err := h.client.Repositories.CreateStatus(ctx, h.name, sha,
				&scm.StatusInput{State: state, Label: s.Name, Desc: s.Text, Target: s.URL})
			return response, err
		})
}
