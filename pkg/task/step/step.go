package step

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Func is the work of a step: C is its configuration, a struct with go-envconfig tags.
type Func[C any] func(ctx context.Context, config C, out *Results) error

// Main runs a step with the process's own environment and signals and returns its exit code.
// SIGTERM and SIGINT cancel the step's context; what must still be written is written with a context of its own.
func Main[C any](fn Func[C]) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return Run(ctx, envconfig.OsLookuper(), os.Stderr, fn)
}

// Run is Main with everything passed in. A parameter is read from PARAM_<NAME>, the identity of the
// run from RUN_<NAME> as it is, and the path of each result from RESULT_<NAME>.
func Run[C any](ctx context.Context, env envconfig.Lookuper, stderr io.Writer, fn Func[C]) int {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime(env)}))
	slog.SetDefault(log)
	err := run(ctx, env, fn)
	if err != nil {
		log.Error("step ended", "error", err.Error(), "exit", failure.Code(err))
	}
	return failure.Code(err)
}

func run[C any](ctx context.Context, env envconfig.Lookuper, fn Func[C]) error {
	out, err := newResults(env)
	if err != nil {
		return err
	}
	var config C
	if err = parameter.Process(ctx, &config, parameters(env)); err == nil {
		err = failure.Guard(func() error { return fn(ctx, config, out) })
	}
	if err == nil {
		return nil
	}
	code := map[int]string{failure.ExitConfig: "config", failure.ExitRejected: "rejected",
		failure.ExitInconclusive: "inconclusive"}[failure.Code(err)]
	if code == "" {
		code = "error"
	}
	if unwritten := out.Explain(code, err); unwritten != nil {
		return fmt.Errorf("%w; %w", err, unwritten)
	}
	return err
}

// parameters looks up PARAM_<key>, and keys that begin with RUN_ as they are.
func parameters(env envconfig.Lookuper) envconfig.Lookuper {
	return lookup(func(key string) (string, bool) {
		if strings.HasPrefix(key, "RUN_") {
			value, ok := env.Lookup(key)
			return value, ok && value != ""
		}
		value, ok := env.Lookup("PARAM_" + key)
		return value, ok && value != "" // Tekton sets every variable; an empty parameter is none
	})
}

type lookup func(string) (string, bool)

func (l lookup) Lookup(key string) (string, bool) { return l(key) }

// withoutTime leaves the time out of log lines where LOG_TIME is "off", as tests that compare lines want.
func withoutTime(env envconfig.Lookuper) func([]string, slog.Attr) slog.Attr {
	off, _ := env.Lookup("LOG_TIME")
	return func(groups []string, a slog.Attr) slog.Attr {
		if off == "off" && len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
}
