// Package failure says why a program ended without doing its work, as an error kind and as an exit code.
package failure

import (
	"errors"
	"fmt"
)

// Exit codes of every Serin program.
const (
	ExitOK           = iota // done, or nothing to do
	ExitError               // cluster, network, bug: worth another try
	ExitConfig              // wrong parameters: another try cannot help
	ExitRejected            // the canary was judged and failed
	ExitInconclusive        // not enough evidence to judge
)

// The kinds that have an exit code of their own. Test for them with errors.Is.
var (
	ErrConfig       = errors.New("wrong configuration")
	ErrRejected     = errors.New("canary rejected")
	ErrInconclusive = errors.New("inconclusive")
)

// kinded is an error of a kind whose text does not repeat the kind's name.
type kinded struct {
	error
	kind error
}

func (e kinded) Unwrap() []error { return []error{e.error, e.kind} }

// As marks err, which may be nil, as being of a kind.
func As(kind, err error) error {
	if err == nil {
		return nil
	}
	return kinded{err, kind}
}

// Configf is an error of kind ErrConfig.
func Configf(format string, args ...any) error { return As(ErrConfig, fmt.Errorf(format, args...)) }

// Rejectedf is an error of kind ErrRejected.
func Rejectedf(format string, args ...any) error { return As(ErrRejected, fmt.Errorf(format, args...)) }

// Inconclusivef is an error of kind ErrInconclusive.
func Inconclusivef(format string, args ...any) error {
	return As(ErrInconclusive, fmt.Errorf(format, args...))
}

// Code is the exit code of an error; nil is ExitOK. The first kind in the order config, rejected,
// inconclusive decides; an error without a kind is ExitError.
func Code(err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrConfig):
		return ExitConfig
	case errors.Is(err, ErrRejected):
		return ExitRejected
	case errors.Is(err, ErrInconclusive):
		return ExitInconclusive
	}
	return ExitError
}
