package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/sethvargo/go-retry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Retry repeats fn while it fails for a reason that passes by itself (Transient), until ctx ends. The
// error is then the last one.
func Retry(ctx context.Context, fn func(context.Context) error) error {
	backoff := retry.WithJitterPercent(20, retry.WithCappedDuration(2*time.Second,
		retry.NewExponential(100*time.Millisecond)))
	var last error
	err := retry.Do(ctx, backoff, func(ctx context.Context) error {
		err := fn(ctx)
		if !Transient(err) {
			return err
		}
		slog.Warn("trying again", "error", err.Error())
		last = err
		return retry.RetryableError(err)
	})
	if err != nil && ctx.Err() != nil && last != nil && !errors.Is(err, last) {
		return fmt.Errorf("%w; last: %w", context.Cause(ctx), last)
	}
	return err
}

// Transient says whether a call that failed may succeed a moment later: the server is away, busy, or
// an admission webhook of it does not answer.
func Transient(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var unreached *Unreached
	if errors.As(err, &unreached) {
		return false // whoever asked for that waits for it
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return false // no time makes a certificate the right one
	}
	var network net.Error
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) ||
		apierrors.IsUnexpectedServerError(err) ||
		errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Raced says whether a patch was refused because the object is no longer as it was read: a conflict inside the server,
// or a JSON patch that does not apply, by a failed test for instance. What a validation or a policy refuses, with HTTP
// 422 too, was no race.
func Raced(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsConflict(err) ||
		apierrors.IsInvalid(err) && errors.As(err, &status) && strings.HasPrefix(status.Status().Message, inapplicable)
}

// inapplicable is what the API server says of a JSON patch that does not apply; a refusal has words of its own.
const inapplicable = "the server rejected our request due to an error in our request"

// Pause waits a moment before a call is made again, or until ctx ends.
func Pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(200 * time.Millisecond):
		return nil
	}
}
