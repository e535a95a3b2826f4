package promotion_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"code.gitea.io/sdk/gitea"

	"github.com/serin-cd/serin/internal/forgetest"
	"github.com/serin-cd/serin/pkg/gitops/forge"
	"github.com/serin-cd/serin/pkg/gitops/promotion"
	"github.com/serin-cd/serin/pkg/gitops/repository"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

func TestMain(m *testing.M) { forgetest.Main(m) }

const chart = `apiVersion: v2
name: production
version: 0.1.0
dependencies:
# what the team runs
- name: shop
  repository: https://charts.example.com
  version: 0.0.1
- name: cart
  repository: https://charts.example.com
  version: 1.0.0
`

func promoter(t *testing.T, r *forgetest.Repository, app, token string) *promotion.Promoter {
	t.Helper()
	remote, err := repository.Config{URL: r.Address(), Branch: "main", User: "serin",
		TokenPath: r.TokenFile(token)}.Remote()
	must(t, err)
	f, err := forge.New(t.Context(), forge.Config{Forge: "gitea"}, remote)
	must(t, err)
	return &promotion.Promoter{Config: promotion.Config{App: app, Environment: "production", AuthorName: "Serin",
		AuthorEmail: "serin@example.com"}, Remote: remote, Forge: f}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var auto = promotion.Waiting{Promotion: "auto", Deadline: parameter.Duration(2 * time.Minute)}

// TestPromote changes one line by a pull request, which is used again, merged, and reverted.
func TestPromote(t *testing.T) {
	r := forgetest.New(t, map[string]string{"Chart.yaml": chart})
	p := promoter(t, r, "shop", r.Token)
	first, err := p.Promote(t.Context(), "0.0.2")
	must(t, err)
	again, err := p.Promote(t.Context(), "0.0.2")
	must(t, err)
	if first.Pull.Number != again.Pull.Number || first.Pull.SHA != again.Pull.SHA || first.From != "0.0.1" {
		t.Errorf("twice made %+v and %+v, want one pull request from 0.0.1", *first.Pull, *again.Pull)
	}
	if first.Pull.Title != "chore: promote shop to version 0.0.2" ||
		first.Pull.Head != "promote-shop-0.0.2-production" {
		t.Errorf("pull request %+v", *first.Pull)
	}
	made, _, err := r.Client.GetPullRequest(r.Owner, r.Name, int64(first.Pull.Number))
	must(t, err)
	var labels []string
	for _, l := range made.Labels {
		labels = append(labels, l.Name)
	}
	if got := strings.Join(labels, " "); got != "dependency/shop env/production" {
		t.Errorf("labels %q", got)
	}
	merged, err := p.Await(t.Context(), "0.0.2", first.Pull.Number, auto)
	must(t, err)
	if merged.MergeSHA == "" {
		t.Errorf("merged as %+v, want the commit", *merged)
	}
	want := strings.Replace(chart, "0.0.1", "0.0.2", 1)
	if got := r.Read("main", "Chart.yaml"); got != want {
		t.Errorf("the environment has\n%s\nwant\n%s", got, want)
	}
	none, err := p.Promote(t.Context(), "0.0.2")
	if err != nil || none.Pull != nil {
		t.Errorf("a version that is there made %+v (%v), want nothing", none.Pull, err)
	}
	back, err := p.Revert(t.Context(), "0.0.2", "The canary answered 50 of 100 requests with errors.")
	must(t, err)
	if back.Version != "0.0.1" {
		t.Errorf("goes back to %s, want 0.0.1", back.Version)
	}
	_, err = p.Await(t.Context(), back.Version, back.Pull.Number, auto)
	must(t, err)
	if got := r.Read("main", "Chart.yaml"); got != chart {
		t.Errorf("the environment has\n%s\nwant it as it was", got)
	}
}

// TestTwoPromotions at once both land, though their lines touch.
func TestTwoPromotions(t *testing.T) {
	r := forgetest.New(t, map[string]string{"Chart.yaml": strings.Replace(chart, "\n- name: cart\n  repository: "+
		"https://charts.example.com", "\n- name: cart", 1)})
	done := make(chan error, 2)
	for app, version := range map[string]string{"shop": "0.0.2", "cart": "1.0.1"} {
		p := promoter(t, r, app, r.Token)
		go func() {
			made, err := p.Promote(t.Context(), version)
			if err == nil {
				_, err = p.Await(t.Context(), version, made.Pull.Number, auto)
			}
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := r.Read("main", "Chart.yaml"); !strings.Contains(got, "0.0.2") || !strings.Contains(got, "1.0.1") {
		t.Errorf("the environment has\n%s\nwant both", got)
	}
}

// TestConflict is made anew on the environment's new head.
func TestConflict(t *testing.T) {
	r := forgetest.New(t, map[string]string{"Chart.yaml": chart})
	p := promoter(t, r, "shop", r.Token)
	made, err := p.Promote(t.Context(), "0.0.3")
	must(t, err)
	r.Write("Chart.yaml", strings.Replace(chart, "0.0.1", "0.0.2", 1))
	_, err = p.Await(t.Context(), "0.0.3", made.Pull.Number, auto)
	must(t, err)
	if got := r.Read("main", "Chart.yaml"); !strings.Contains(got, "0.0.3") {
		t.Errorf("the environment has\n%s\nwant 0.0.3", got)
	}
}

// TestStatuses are waited for, and one that fails ends the wait.
func TestStatuses(t *testing.T) {
	r := forgetest.New(t, map[string]string{"Chart.yaml": chart})
	p := promoter(t, r, "shop", r.Token)
	made, err := p.Promote(t.Context(), "0.0.2")
	must(t, err)
	waiting := auto
	waiting.Statuses = []string{"lint"}
	ended := make(chan error, 1)
	go func() {
		_, err := p.Await(t.Context(), "0.0.2", made.Pull.Number, waiting)
		ended <- err
	}()
	must(t, p.Forge.SetStatus(t.Context(), made.Pull.SHA, forge.Status{Name: "lint", State: forge.Pending}))
	now, err := p.Forge.Get(t.Context(), made.Pull.Number)
	if err != nil || now.Merged {
		t.Errorf("merged %+v (%v), want it to wait for lint", now, err)
	}
	must(t, p.Forge.SetStatus(t.Context(), made.Pull.SHA, forge.Status{Name: "lint", State: forge.Failure, Text: "no"}))
	if err := <-ended; !errors.Is(err, failure.ErrRejected) || !strings.Contains(err.Error(), "status lint has failed: no") {
		t.Errorf("error %v, want that lint has failed", err)
	}
	must(t, p.Forge.SetStatus(t.Context(), made.Pull.SHA, forge.Status{Name: "lint", State: forge.Success}))
	_, err = p.Await(t.Context(), "0.0.2", made.Pull.Number, waiting)
	must(t, err)
}

// TestAwaitEnds where nobody will merge it, or nobody is to.
func TestAwaitEnds(t *testing.T) {
	r := forgetest.New(t, map[string]string{"Chart.yaml": chart})
	p := promoter(t, r, "shop", r.Token)
	made, err := p.Promote(t.Context(), "0.0.2")
	must(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("told to end"))
	manual := auto
	manual.Promotion = "manual"
	if _, err := p.Await(ctx, "0.0.2", made.Pull.Number, manual); err == nil ||
		!strings.Contains(err.Error(), "told to end") {
		t.Errorf("error %v, want that it was told to end", err)
	}
	manual.Deadline = parameter.Duration(2 * time.Second)
	if _, err := p.Await(t.Context(), "0.0.2", made.Pull.Number, manual); err == nil ||
		!strings.Contains(err.Error(), "not merged within 2s") {
		t.Errorf("error %v, want the deadline", err)
	}
	closed := gitea.StateClosed
	_, _, err = r.Client.EditPullRequest(r.Owner, r.Name, int64(made.Pull.Number),
		gitea.EditPullRequestOption{State: &closed})
	must(t, err)
	if _, err := p.Await(t.Context(), "0.0.2", made.Pull.Number, auto); !errors.Is(err, failure.ErrRejected) {
		t.Errorf("error %v, want that it was closed", err)
	}
}
