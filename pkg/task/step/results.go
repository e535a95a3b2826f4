package step

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"unicode/utf8"

	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// defaultBudget is what all results of a step may hold together, in bytes, where the Task gives no
// RESULTS_BUDGET: Tekton's 4096 bytes a container less 512 for its own entries.
const defaultBudget = 4096 - 512

// maxReason is the longest reason, in bytes.
const maxReason = 512

// Results writes a step's results. Beyond its budget Tekton loses results silently, so it refuses.
type Results struct {
	env    envconfig.Lookuper
	budget int
	sizes  map[string]int
}

func newResults(env envconfig.Lookuper) (*Results, error) {
	r := &Results{env: env, budget: defaultBudget, sizes: map[string]int{}}
	if text, ok := env.Lookup("RESULTS_BUDGET"); ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, failure.Configf("reading RESULTS_BUDGET: %q, want a number of bytes", text)
		}
		r.budget = n
	}
	return r, nil
}

// Set writes a result, without a newline, to the path that RESULT_<NAME> holds. A result that the
// Task does not ask for (no such path) is left out.
func (r *Results) Set(name, value string) error {
	path := r.path(name)
	if path == "" {
		return nil
	}
	if total := r.total() - r.sizes[name] + len(value); total > r.budget {
		return fmt.Errorf("writing result %s: %d bytes in all, want at most %d: Tekton would lose them", name, total,
			r.budget)
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("writing result %s: %w", name, err)
	}
	r.sizes[name] = len(value)
	return nil
}

// Has says whether the Task asks for a result.
func (r *Results) Has(name string) bool { return r.path(name) != "" }

// path is where a result is written, empty where nobody asks for it.
func (r *Results) path(name string) string {
	path, _ := r.env.Lookup("RESULT_" + parameter.Key(name))
	return path
}

// Left is how many bytes of the budget are free, not counting an earlier value of the named result.
func (r *Results) Left(name string) int { return r.budget - r.total() + r.sizes[name] }

// Explain writes the result reason, `code: text`, unless a reason is there already: cut at a rune to 512 bytes, and to
// what the budget leaves. It also sets a verdict if one is asked for and none is written: fail for a canary that was
// rejected, else inconclusive.
func (r *Results) Explain(code string, err error) error {
	if _, done := r.sizes["reason"]; done || !r.Has("reason") && !r.Has("verdict") {
		return nil
	}
	var verdict error
	if _, done := r.sizes["verdict"]; !done {
		value := "inconclusive"
		if errors.Is(err, failure.ErrRejected) {
			value = "fail"
		}
		verdict = r.Set("verdict", value)
	}
	text := Cut(code+": "+err.Error(), min(maxReason, r.Left("reason")))
	return errors.Join(verdict, r.Set("reason", text))
}

// Cut shortens text to at most n bytes, at a rune.
func Cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:max(n, 0)]
}

func (r *Results) total() int {
	total := 0
	for _, n := range r.sizes {
		total += n
	}
	return total
}

// SetText is Set for a text that is cut to what the budget leaves.
func (r *Results) SetText(name, text string) error { return r.Set(name, Cut(text, r.Left(name))) }

// SetAll sets results, given as name, value, name, value.
func (r *Results) SetAll(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := r.Set(pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}
