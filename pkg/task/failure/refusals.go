package failure

import (
	"errors"
	"fmt"
	"strings"
)

// Refusals gathers errors of configuration, so that all of them are told at once.
type Refusals struct{ all []error }

// Add adds an error, which may be nil.
func (r *Refusals) Add(err error) {
	if err != nil {
		r.all = append(r.all, err)
	}
}

// Addf adds an error of kind ErrConfig.
func (r *Refusals) Addf(format string, args ...any) { r.Add(Configf(format, args...)) }

// Err is nil where there is none, the one there is, or one that tells all of them in one line.
func (r *Refusals) Err() error {
	if len(r.all) < 2 {
		return errors.Join(r.all...)
	}
	var texts []string
	for i, err := range r.all {
		texts = append(texts, fmt.Sprintf("(%d) %s", i+1, err))
	}
	return refused{r.all, strings.Join(texts, "; ")}
}

// Each are the errors that Refusals tell as one, or the error itself.
func Each(err error) []error {
	var several refused
	if errors.As(err, &several) {
		return several.all
	}
	return []error{err}
}

// refused is several errors in one line.
type refused struct {
	all  []error
	text string
}

func (r refused) Error() string { return r.text }

func (r refused) Unwrap() []error { return r.all }
