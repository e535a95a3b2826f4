package kube

import (
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
)

// Unreached is the error of a call to an API server that has never answered. It is not Transient.
type Unreached struct {
	Host string
	Err  error
}

// Error implements error.
func (u *Unreached) Error() string {
	return fmt.Sprintf("reaching the API server at %s: %v: check that it is up, and that the kubeconfig's context is the "+
		"one you mean", u.Host, u.Err)
}

func (u *Unreached) Unwrap() error { return u.Err }

// Impatient has calls fail within seconds, and for good, where the server has never answered: a person waits for them.
// What it has answered once is tried again.
func Impatient(config *rest.Config) {
	config.Dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	var answered atomic.Bool
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			switch {
			case err == nil:
				answered.Store(true)
			case !answered.Load() && r.Context().Err() == nil:
				err = &Unreached{r.URL.Host, err}
			}
			return answer, err
		})
	})
}
