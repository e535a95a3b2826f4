package failure_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestGuard(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	err := failure.Guard(func() error { panic("index out of range") })
	if failure.Code(err) != failure.ExitError || !strings.Contains(err.Error(), "panic: index out of range") {
		t.Errorf("error %v (exit %d), want the panic told, exit %d", err, failure.Code(err), failure.ExitError)
	}
	if !strings.Contains(log.String(), "TestGuard") {
		t.Errorf("log %q, want the stack in it", log.String())
	}
	wrong := errors.New("wrong")
	if err := failure.Guard(func() error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("error %v, want %v", err, wrong)
	}
}

func TestRefusals(t *testing.T) {
	var none failure.Refusals
	none.Add(nil)
	if err := none.Err(); err != nil {
		t.Errorf("none: %v", err)
	}
	var one failure.Refusals
	one.Addf("port %q", "http")
	if err := one.Err(); failure.Code(err) != failure.ExitConfig || err.Error() != `port "http"` {
		t.Errorf("one: %v (exit %d)", err, failure.Code(err))
	}
	one.Add(errors.New("away"))
	if err := one.Err(); failure.Code(err) != failure.ExitConfig || err.Error() != `(1) port "http"; (2) away` {
		t.Errorf("two: %v (exit %d)", err, failure.Code(err))
	}
}
