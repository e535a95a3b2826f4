package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Unreached is the error of a call to an API server that has never answered. It is not Transient.
type Unreached struct {
	Host string
	Err  error
}

// Error implements error.
func (u *Unreached) Error() string {
	return fmt.Sprintf("reaching the API server at %s: %v: check that it is up, and that the kubeconfig's context is "+
		"the one you mean", u.Host, u.Err)
}

func (u *Unreached) Unwrap() error { return u.Err }

// Impatient has calls fail within seconds, and for good, where the server has never answered, or does not know the kind
// that is asked for: a person waits for them. All else is tried again.
func Impatient(config *rest.Config) {
	config.Dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	var answered atomic.Bool
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			switch {
			case err == nil:
				answered.Store(true)
				return answer, unserved(r, answer)
			case !answered.Load() && r.Context().Err() == nil:
				err = &Unreached{r.URL.Host, err}
			}
			return answer, err
		})
	})
}

// unserved gives the answer about a group that is not installed the form of others: as plain text it would be taken for
// a mistake of the server, and be tried again.
func unserved(r *http.Request, answer *http.Response) error {
	path, ok := strings.CutPrefix(r.URL.Path, "/apis/")
	if !ok || answer.StatusCode != http.StatusNotFound ||
		!strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain") {
		return nil
	}
	group, _, _ := strings.Cut(path, "/")
	text, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Details: &metav1.StatusDetails{Group: group},
		Message: "the server knows nothing of " + group,
	})
	if err != nil {
		return err
	}
	answer.Body.Close()
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	answer.Header.Set("Content-Type", "application/json")
	answer.Header.Del("Content-Length")
	return nil
}

// Unserved is the group of kinds that an error says is not installed, empty where it says something else.
func Unserved(err error) string {
	var known apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &known) || known.Status().Details == nil {
		return ""
	}
	if d := known.Status().Details; d.Kind == "" {
		return d.Group
	}
	return ""
}
