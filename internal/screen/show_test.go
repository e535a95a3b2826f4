package screen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

// soon is how late a busy machine may be; `make bench` prints how long a quiet one takes.
const soon = 10 * time.Second

// watched is a run that is shown on a terminal of 80 columns and 24 rows.
type watched struct {
	*testing.T
	app      *releasetest.App
	release  *release.Release
	terminal *drawn
	keys     *os.File // what is written there is typed
	tty      *os.File
	calls    atomic.Int32 // requests to the API server
	ended    chan error
	outcome  run.Outcome
}

func show(t *testing.T) *watched {
	t.Helper()
	w := &watched{T: t, app: releasetest.New(t), terminal: &drawn{emulator: vt.NewEmulator(80, 24)},
		ended: make(chan error, 1)}
	w.app.First()
	w.app.Push("2")
	w.release = w.app.PipelineRun("second")
	if _, err := w.app.Prepare(w.release); err != nil {
		t.Fatal(err)
	}
	cluster := w.app.Run("looking", releasetest.Before(func(*http.Request) error {
		w.calls.Add(1)
		return nil
	})).Cluster
	r := status.Run{ID: w.release.ID, App: "podinfo", Created: time.Now().Add(-time.Minute)}
	w.keys, w.tty = opened(t, w.terminal)
	go func() {
		ended, err := Show(t.Context(), w.tty, w.tty, r, cluster.Now,
			func(ctx context.Context, tell func(status.Change)) (status.Run, error) {
				return status.FollowClosely(ctx, cluster, r, tell)
			})
		w.outcome = ended.Outcome
		w.ended <- err
	}()
	return w
}

// drawn is what a terminal shows. The emulator's own safe one reads its picture without a lock.
type drawn struct {
	mu       sync.Mutex
	emulator *vt.Emulator
}

func (d *drawn) Write(text []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.emulator.Write(text)
}

func (d *drawn) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.emulator.String()
}

func (d *drawn) IsAltScreen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.emulator.IsAltScreen()
}

func (d *drawn) Resize(width, height int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.emulator.Resize(width, height)
}

// opened is a pseudo-terminal that is drawn by an emulator.
func opened(t *testing.T, d *drawn) (keys, tty *os.File) {
	t.Helper()
	keys, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close(); tty.Close() })
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 80, Rows: 24}); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(d, keys) }()
	go func() { _, _ = io.Copy(keys, d.emulator) }() // answers to what the program asks its terminal
	return keys, tty
}

// within wants texts on the terminal before a time has passed.
func (w *watched) within(most time.Duration, texts ...string) {
	w.Helper()
	deadline := time.Now().Add(most)
	for _, text := range texts {
		for !strings.Contains(w.terminal.String(), text) {
			if time.Now().After(deadline) {
				w.Fatalf("no %q after %s on the terminal:\n%s", text, most, w.terminal.String())
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (w *watched) shift(weight parameter.Weight) {
	w.Helper()
	if err := stage.Shift(w.Context(), w.release, weight, time.Minute); err != nil {
		w.Fatal(err)
	}
}

// status makes an object of Tekton's, if there is none of its name, and writes its status.
func (w *watched) status(of schema.GroupVersionResource, kind, name, text string) {
	w.Helper()
	objects := w.app.Cluster.Objects(of, w.app.Namespace)
	if _, err := objects.Get(w.Context(), name, metav1.GetOptions{}); err != nil {
		made := &unstructured.Unstructured{Object: map[string]any{
			"spec": map[string]any{"taskRef": map[string]any{"name": "canary-stage"}, "timeout": "11m30s"}}}
		made.SetAPIVersion("tekton.dev/v1")
		made.SetKind(kind)
		made.SetName(name)
		made.SetLabels(map[string]string{"tekton.dev/pipelineRun": "second",
			"tekton.dev/pipelineTask": strings.TrimPrefix(name, "second-")})
		if _, err := objects.Create(w.Context(), made, metav1.CreateOptions{}); err != nil {
			w.Fatal(err)
		}
	}
	if _, err := objects.Patch(w.Context(), name, types.MergePatchType, []byte(`{"status":`+text+`}`),
		metav1.PatchOptions{}, "status"); err != nil {
		w.Fatal(err)
	}
}

func (w *watched) runStatus(text string) { w.status(kube.PipelineRuns, "PipelineRun", "second", text) }

func (w *watched) stageStatus(text string) {
	w.status(kube.TaskRuns, "TaskRun", "second-stage-20", text)
}

// What a step that judges writes to its log: first, and each time that a scrape is in.
const (
	judgingBegins = `time=%[1]s level=INFO msg="judging begins" canary=podinfo phase=1 weight=20 judge=sequential ` +
		`gate=time-box min-dwell=30s time-box=10m0s deadline=15m0s blame-limit=100 acquit-limit=20` + "\n"
	cellClosed = `time=%[1]s level=INFO msg="cell closed" canary=podinfo phase=1 weight=20 end=%[1]s bad=1 ` +
		`requests=120 primary-bad=0 primary-requests=481 blame=2.5 acquit=3.5 latency-blame=0.9 latency-acquit=1.5 ` +
		`bounds=5,25 slow=20,1 primary-slow=2,0 state=suspect repeated=false` + "\n"
)

// TestShow has a stage judged: each change is on the terminal within a second, and nothing is asked while nothing
// changes.
func TestShow(t *testing.T) {
	w := show(t)
	logs := apitest.Logs(t, w.app.Namespace, "second-stage-20-pod", "step-analyze-metrics")
	w.within(soon, "serves podinfo:1   canary podinfo:2", "preparing", "q leaves, the run goes on")
	w.runStatus(`{"pipelineSpec":{"tasks":[{"name":"prepare"},{"name":"stage-20"}],
		"finally":[{"name":"finish"}]}}`)
	w.within(soon, "○ stage-20", "○ finish")
	w.shift(20)
	w.within(soon, " 20 %", "Advance podinfo."+w.app.Namespace+" canary weight 20")
	now := time.Now().UTC().Format(time.RFC3339)
	w.stageStatus(`{"podName":"second-stage-20-pod","startTime":"` + now + `",
		"conditions":[{"type":"Succeeded","status":"Unknown","reason":"Running"}],
		"steps":[{"name":"shift-weight","container":"step-shift-weight","terminated":{"exitCode":0}},
			{"name":"analyze-metrics","container":"step-analyze-metrics","running":{"startedAt":"` + now + `"}}]}`)
	w.within(soon, "● stage-20")
	fmt.Fprintf(logs["step-analyze-metrics"], judgingBegins, now)
	w.within(soon, "passes in ")
	at := w.calls.Load()
	fmt.Fprintf(logs["step-analyze-metrics"], cellClosed+cellClosed, now)
	w.within(soon, "canary          240  2 (0.83 %)           ≤ 25 ms",
		"primary         962  0 (0.00 %)           ≤ 5 ms", "2.5, fails at 100", "1.5, is proof at 20",
		"something speaks against it, verdict within ")
	w.shift(40)
	w.within(soon, " 40 %")
	if n := w.calls.Load(); n != at {
		t.Errorf("%d requests while it was watched, want none", n-at)
	}
	if at > 11 {
		t.Errorf("%d requests to begin with, want a watch each, and the log of the stage", at)
	}
	w.stageStatus(`{"completionTime":"` + now + `",
		"conditions":[{"type":"Succeeded","status":"False","reason":"StepFailed"}],
		"results":[{"name":"verdict","type":"string","value":"fail"},{"name":"reason","type":"string","value":"worse"},
			{"name":"evidence","type":"string","value":"{\"weight\":20,\"canary\":[9,300],\"primary\":[0,999]}"}]}`)
	w.within(soon, "✘ stage-20", "fail  worse", "9 (3.00 %)")
	w.runStatus(`{"completionTime":"` + now + `",
		"results":[{"name":"outcome","type":"string","value":"rolled-back"},
			{"name":"reason","type":"string","value":"worse: 9 of 300"}],
		"conditions":[{"type":"Succeeded","status":"False","reason":"Failed"}]}`)
	if err := w.end(); err != nil || w.outcome != run.RolledBack {
		t.Errorf("ended %q (%v), want rolled back", w.outcome, err)
	}
	w.within(soon, "rolled-back: worse: 9 of 300", "✘ stage-20", "– prepare")
	w.app.Eventually("the terminal shows what it showed before", func() bool { return !w.terminal.IsAltScreen() })
}

// end is how it ended.
func (w *watched) end() error {
	w.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(soon):
		w.Fatalf("not ended after %s:\n%s", soon, w.terminal.String())
		return nil
	}
}

// TestResize draws anew for another size.
func TestResize(t *testing.T) {
	w := show(t)
	w.within(soon, "Starting canary analysis", "q leaves, the run goes on")
	w.terminal.Resize(60, 8)
	if err := pty.Setsize(w.tty, &pty.Winsize{Cols: 60, Rows: 8}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil { // as the terminal would
		t.Fatal(err)
	}
	narrow := pictured(nil).head(60, at(0))[3]
	w.within(soon, ansi.Strip(narrow))
	if _, err := w.keys.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	if err := w.end(); !errors.Is(err, ErrLeft) {
		t.Errorf("ended by %v, want that it was left", err)
	}
}

// TestLeave leaves by a key: the run goes on, and the last picture stays.
func TestLeave(t *testing.T) {
	for name, key := range map[string]string{"q": "q", "ctrl-C": "\x03", "escape": "\x1b"} {
		t.Run(name, func(t *testing.T) {
			w := show(t)
			w.within(soon, "preparing")
			if _, err := w.keys.WriteString(key); err != nil {
				t.Fatal(err)
			}
			if err := w.end(); !errors.Is(err, ErrLeft) {
				t.Errorf("ended by %v, want that it was left", err)
			}
			w.within(soon, "podinfo in "+w.app.Namespace, "preparing")
			if rec := w.app.State(); rec.Phase != run.Preparing {
				t.Errorf("the run is %s, want it as it was", rec.Phase)
			}
		})
	}
}
