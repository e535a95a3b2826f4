package deploy_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/gitops/deploy"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

// environment is an environment repository, and the application that it deploys.
type environment struct {
	*releasetest.App
	t      *testing.T
	folder string
	mode   deploy.Mode
}

func newEnvironment(t *testing.T, mode deploy.Mode) *environment {
	t.Helper()
	e := &environment{App: releasetest.Bare(t), t: t, folder: t.TempDir(), mode: mode}
	e.Node = apitest.Kubelet(t, e.Namespace)
	if err := os.CopyFS(e.folder, os.DirFS("testdata/environment")); err != nil {
		t.Fatal(err)
	}
	return e
}

// write changes a file of the repository.
func (e *environment) write(file, text string) {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(e.folder, file), []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

func (e *environment) config() deploy.Config {
	return deploy.Config{Source: e.folder, Own: e.Namespace, Mode: e.mode,
		Deadline: parameter.Duration(time.Minute)}
}

// apply applies the repository with these values of the application, and wants these to have changed.
func (e *environment) apply(values string, changed ...string) deploy.Outcome {
	e.t.Helper()
	return e.applyThrough(apitest.Config(e.t), values, changed...)
}

func (e *environment) applyThrough(config *rest.Config, values string, changed ...string) deploy.Outcome {
	e.t.Helper()
	e.write("env/values.yaml", "podinfo: {"+values+"}\n")
	out, err := deploy.Apply(e.t.Context(), config, e.config())
	if err != nil {
		e.t.Fatalf("applying %s: %v", values, err)
	}
	if diff := cmp.Diff(changed, out.Changed); diff != "" {
		e.t.Errorf("changed by %s (-want +got):\n%s", values, diff)
	}
	return out
}

// shift gives the canary a share.
func (e *environment) shift(r *release.Release, weight parameter.Weight) {
	e.t.Helper()
	if err := stage.Shift(e.t.Context(), r, weight, time.Minute); err != nil {
		e.t.Fatal(err)
	}
}

// second begins the release of version 2, which the repository has, at 20 %.
func (e *environment) second() *release.Release {
	e.t.Helper()
	r := e.Run("second")
	if outcome, err := e.Prepare(r); err != nil || outcome != prepare.Proceed {
		e.t.Fatalf("preparing version 2: outcome %q (%v), want %q", outcome, err, prepare.Proceed)
	}
	e.shift(r, 20)
	return r
}

// versions are those of the objects that Serin changes.
func (e *environment) versions() map[string]string {
	e.t.Helper()
	apex, err := e.Client.CoreV1().Services(e.Namespace).Get(e.t.Context(), "podinfo", metav1.GetOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	return map[string]string{
		"target": fmt.Sprint(e.Deployment("podinfo").Generation), "apex": apex.ResourceVersion,
		"primary": fmt.Sprint(e.Deployment("podinfo-primary").Generation),
		"route":   e.VirtualService().ResourceVersion,
	}
}

func modes(t *testing.T, test func(*testing.T, *environment)) {
	for _, mode := range []deploy.Mode{deploy.Client, deploy.Server} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			test(t, newEnvironment(t, mode))
		})
	}
}

func TestUpgradeAtRest(t *testing.T) {
	modes(t, func(t *testing.T, e *environment) {
		e.apply(`version: "1", route: split`, "podinfo")
		e.First()
		e.apply(`version: "1", route: split`) // the selector has two owners from now on, if it is applied by the server
		before := e.versions()
		e.apply(`version: "1", route: split`)
		if diff := cmp.Diff(before, e.versions()); diff != "" {
			t.Errorf("applied again, objects have changed (-before +after):\n%s", diff)
		}
		e.apply(`version: "2", route: split, replicas: 5, owner: bob, timeout: 20s`, "podinfo")
		e.Want(releasetest.State{Phase: run.Closed, Outcome: run.Initialized, Primary: releasetest.Image("1")})
		target := e.Deployment("podinfo")
		if got := target.Spec.Template.Spec.Containers[0].Image; got != releasetest.Image("2") {
			t.Errorf("target has image %s, want that of version 2", got)
		}
		if target.Labels["owner"] != "bob" || e.VirtualService().Labels["owner"] != "bob" {
			t.Error("what Serin does not hold is not applied")
		}
		if got := e.VirtualService().Spec.Http[0].Timeout.AsDuration(); got != 20*time.Second {
			t.Errorf("timeout of the route %s, want 20s", got)
		}
		before = e.versions()
		e.apply(`version: "2", route: split, replicas: 5, owner: bob, timeout: 20s`)
		if diff := cmp.Diff(before, e.versions()); diff != "" {
			t.Errorf("applied again, objects have changed (-before +after):\n%s", diff)
		}
	})
}

func TestUpgradeInTheMiddleOfARelease(t *testing.T) {
	modes(t, func(t *testing.T, e *environment) {
		e.apply(`version: "1", route: split`, "podinfo")
		e.First()
		e.apply(`version: "2", route: split`, "podinfo")
		r := e.second()
		now := releasetest.State{Weight: 20, Phase: run.Shifting, Stages: 1, Target: 2, Primary: releasetest.Image("1")}
		e.Want(now)
		stamp := e.Deployment("podinfo").Annotations["serin.dev/run"]
		e.apply(`version: "2", route: split, owner: bob, replicas: 7, timeout: 20s`)
		e.Want(now)
		if got := e.Deployment("podinfo").Annotations["serin.dev/run"]; got != stamp || stamp == "" {
			t.Errorf("stamp %q, want %q", got, stamp)
		}
		if got := e.VirtualService().Spec.Http[0].Timeout.AsDuration(); got != 20*time.Second {
			t.Errorf("timeout of the route %s, want 20s", got)
		}
		e.shift(r, 40) // the run goes on
		if _, err := promote.Run(t.Context(), r, time.Minute); err != nil {
			t.Fatal(err)
		}
		e.apply(`version: "2", route: split, owner: carl, replicas: 7, timeout: 20s`)
		e.Want(releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Stages: 2,
			Primary: releasetest.Image("2")})
	})
}

// TestARunIsFasterThanHelm shifts the weight after its value was read, and before Helm writes.
func TestARunIsFasterThanHelm(t *testing.T) {
	modes(t, func(t *testing.T, e *environment) {
		e.apply(`version: "1", route: split`, "podinfo")
		e.First()
		e.apply(`version: "2", route: split`, "podinfo")
		r := e.second()
		config := apitest.Config(t)
		faster := sync.OnceFunc(func() { e.shift(r, 40) })
		config.Wrap(releasetest.Before(func(q *http.Request) error {
			if q.Method == http.MethodPatch && strings.HasSuffix(q.URL.Path, "/virtualservices/podinfo") {
				faster()
			}
			return nil
		}))
		e.applyThrough(config, `version: "2", route: split, timeout: 20s`)
		e.Want(releasetest.State{Weight: 40, Phase: run.Shifting, Stages: 2, Target: 2,
			Primary: releasetest.Image("1")})
		if got := e.VirtualService().Spec.Http[0].Timeout.AsDuration(); got != 20*time.Second {
			t.Errorf("timeout of the route %s, want 20s", got)
		}
	})
}

// TestARunEndsWhileHelmWrites brings the target to rest between what Helm reads and what it writes.
func TestARunEndsWhileHelmWrites(t *testing.T) {
	modes(t, func(t *testing.T, e *environment) {
		e.apply(`version: "1"`, "podinfo")
		e.First()
		e.apply(`version: "2"`, "podinfo")
		r := e.second()
		config := apitest.Config(t)
		end := sync.OnceFunc(func() {
			if err := errors.Join(r.Close(t.Context(), "it ends", "it ends"), r.Settle(t.Context(), r.ID)); err != nil {
				t.Error(err)
			}
		})
		config.Wrap(releasetest.Before(func(q *http.Request) error {
			if q.Method == http.MethodPatch && strings.HasSuffix(q.URL.Path, "/deployments/podinfo") {
				end()
			}
			return nil
		}))
		e.applyThrough(config, `version: "2", owner: bob, replicas: 7`)
		e.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: 1,
			Primary: releasetest.Image("1")})
		if got := e.Deployment("podinfo").Labels["owner"]; got != "bob" {
			t.Errorf("owner %s, want bob", got)
		}
	})
}

// TestCanaryIsSwitchedOn takes the Service out of the chart, whether the chart wants to keep it or not.
func TestCanaryIsSwitchedOn(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprint("kept ", kept), func(t *testing.T) {
			modes(t, func(t *testing.T, e *environment) {
				values := fmt.Sprintf(`version: "1", keep: %v`, kept)
				if out := e.apply(values, "podinfo"); len(out.Canaries) > 0 {
					t.Errorf("canary is on for %v, want none", out.Canaries)
				}
				uid := e.apexUID()
				out := e.apply(values + `, canary: {enabled: true}`)
				if diff := cmp.Diff([]string{"podinfo"}, out.Canaries); diff != "" || e.apexUID() != uid {
					t.Errorf("Service %s, was %s; canary is on for (-want +got):\n%s", e.apexUID(), uid, diff)
				}
				e.First()
				e.apply(values + `, canary: {enabled: true}, owner: bob`)
				e.apply(values + `, owner: bob`) // and off again: the primary serves on
				e.Want(releasetest.State{Phase: run.Closed, Outcome: run.Initialized, Primary: releasetest.Image("1")})
				if e.apexUID() != uid {
					t.Error("the Service was made anew")
				}
			})
		})
	}
}

// TestCanaryIsSwitchedOff gives the chart a Service that Serin has made.
func TestCanaryIsSwitchedOff(t *testing.T) {
	modes(t, func(t *testing.T, e *environment) {
		e.apply(`version: "1", canary: {enabled: true}`, "podinfo")
		e.First()
		uid := e.apexUID()
		e.apply(`version: "1", owner: bob`)
		e.apply(`version: "1", owner: bob, canary: {enabled: true}`)
		e.Want(releasetest.State{Phase: run.Closed, Outcome: run.Initialized, Primary: releasetest.Image("1")})
		if e.apexUID() != uid {
			t.Error("the Service was made anew")
		}
	})
}

func (e *environment) apexUID() string {
	e.t.Helper()
	apex, err := e.Client.CoreV1().Services(e.Namespace).Get(e.t.Context(), "podinfo", metav1.GetOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	return string(apex.UID)
}

// TestTheModeChanges applies by server-side apply what was applied by a merge, and the other way round.
func TestTheModeChanges(t *testing.T) {
	e := newEnvironment(t, deploy.Client)
	e.apply(`version: "1", route: split`, "podinfo")
	e.First()
	for i, mode := range []deploy.Mode{deploy.Server, deploy.Auto, deploy.Client, deploy.Auto} {
		e.mode = mode
		e.apply(fmt.Sprintf(`version: "%d", route: split`, i+2), "podinfo")
		e.Want(releasetest.State{Phase: run.Closed, Outcome: run.Initialized, Primary: releasetest.Image("1")})
	}
}

// TestRoutesOfTheChart are those that Serin could not shift, or has changed itself.
func TestRoutesOfTheChart(t *testing.T) {
	modes(t, func(t *testing.T, e *environment) {
		e.apply(`version: "1", route: split`, "podinfo")
		e.First()
		e.apply(`version: "2", route: split`, "podinfo")
		r := e.second()
		e.apply(`version: "2", route: whole`) // as before Serin came: it is split as Serin does
		now := releasetest.State{Weight: 20, Phase: run.Shifting, Stages: 1, Target: 2, Primary: releasetest.Image("1")}
		e.Want(now)

		e.write("env/values.yaml", `podinfo: {version: "2", route: elsewhere}`)
		_, err := deploy.Apply(t.Context(), apitest.Config(t), e.config())
		want := "keeping the canary's 20 % in VirtualService podinfo, whose routes the chart changes: wait until "
		if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		e.Want(now)
		e.shift(r, 40)
		e.apply(`version: "2"`) // the chart has no route any more, which stays
		now.Weight, now.Stages = 40, 2
		e.Want(now)
	})
}
