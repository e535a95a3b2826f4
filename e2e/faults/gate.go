package faults

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	admissionreview "k8s.io/api/admission/v1"
	admission "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/cert"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/release/record"
)

// gateName is that of the webhook's configuration.
const gateName = "serin-faults"

// patience is how long the API server may be kept waiting at a time; it allows 30 s.
const patience = 25 * time.Second

// gate is an admission webhook that keeps writes of steps on their way for as long as a test wants.
type gate struct {
	server *httptest.Server
	mu     sync.Mutex
	holds  map[string]*hold // by namespace and what is written
}

// hold is one write that is to be kept.
type hold struct {
	arrived, released chan struct{}
	once, free        sync.Once
}

// openGate serves the webhook at an address of the host that the node reaches, and registers it.
func openGate(ctx context.Context, client kubernetes.Interface, host string) (*gate, error) {
	certificate, key, err := cert.GenerateSelfSignedCertKey(host, []net.IP{net.ParseIP(host)}, nil)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for %s: %w", host, err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	g := &gate{holds: map[string]*hold{}}
	g.server = httptest.NewUnstartedServer(http.HandlerFunc(g.review))
	g.server.Listener.Close()
	g.server.Listener = listener
	g.server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	g.server.StartTLS()
	configuration := webhook(g.server.URL, certificate)
	if _, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, configuration,
		metav1.CreateOptions{}); err != nil {
		g.server.Close()
		return nil, fmt.Errorf("registering the webhook %s: %w", gateName, err)
	}
	return g, nil
}

func webhook(url string, authority []byte) *admission.ValidatingWebhookConfiguration {
	ignore, none, seconds := admission.Ignore, admission.SideEffectClassNone, int32(30)
	rule := func(group, resource string) admission.RuleWithOperations {
		return admission.RuleWithOperations{
			Operations: []admission.OperationType{admission.Update},
			Rule: admission.Rule{APIGroups: []string{group}, APIVersions: []string{"v1"},
				Resources: []string{resource}},
		}
	}
	return &admission.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: gateName},
		Webhooks: []admission.ValidatingWebhook{{
			Name: "gate.serin.test", ClientConfig: admission.WebhookClientConfig{URL: &url, CABundle: authority},
			Rules: []admission.RuleWithOperations{rule("networking.istio.io", "virtualservices"),
				rule("apps", "deployments")},
			MatchConditions: []admission.MatchCondition{{Name: "steps",
				Expression: `request.userInfo.username.endsWith(":serin")`}},
			FailurePolicy: &ignore, SideEffects: &none, TimeoutSeconds: &seconds,
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
}

// close lets everything through.
func (g *gate) close(ctx context.Context, client kubernetes.Interface) error {
	err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, gateName,
		metav1.DeleteOptions{})
	g.mu.Lock()
	for _, h := range g.holds {
		h.release()
	}
	g.mu.Unlock()
	g.server.Close()
	return err
}

// hold keeps the next such write in a namespace until it is released.
func (g *gate) hold(namespace, what string) *hold {
	h := &hold{arrived: make(chan struct{}), released: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holds[namespace+" "+what] = h
	return h
}

// wait returns when the write is there.
func (h *hold) wait(ctx context.Context) error {
	select {
	case <-h.arrived:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a write that is to be held: %w", context.Cause(ctx))
	}
}

// release lets the write through, and all later ones.
func (h *hold) release() { h.free.Do(func() { close(h.released) }) }

// review answers the API server. After a while it answers that the server is busy, so that the step tries again.
func (g *gate) review(w http.ResponseWriter, r *http.Request) {
	var review admissionreview.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, "want an AdmissionReview", http.StatusBadRequest)
		return
	}
	answer := &admissionreview.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if h := g.of(review.Request); h != nil {
		h.once.Do(func() { close(h.arrived) })
		select {
		case <-h.released:
		case <-r.Context().Done(): // whoever wrote is gone
			return
		case <-time.After(patience):
			answer.Allowed = false
			answer.Result = &metav1.Status{Code: http.StatusTooManyRequests, Reason: metav1.StatusReasonTooManyRequests,
				Message: "held by a test"}
		}
	}
	review.Request, review.Response = nil, answer
	_ = json.NewEncoder(w).Encode(review)
}

// of is what holds a write, nil for none.
func (g *gate) of(request *admissionreview.AdmissionRequest) *hold {
	var before, after metav1.PartialObjectMetadata
	if json.Unmarshal(request.OldObject.Raw, &before) != nil || json.Unmarshal(request.Object.Raw, &after) != nil {
		return nil
	}
	what := ""
	switch {
	case request.Kind.Kind == "Deployment" &&
		before.Annotations[application.RevisionAnnotation] != after.Annotations[application.RevisionAnnotation]:
		what = "primary"
	case request.Kind.Kind == "VirtualService":
		was, _ := record.Parse(before.Annotations[application.RunAnnotation])
		is, _ := record.Parse(after.Annotations[application.RunAnnotation])
		if is.Weight() != was.Weight() {
			what = fmt.Sprintf("weight %d", is.Weight())
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.holds[request.Namespace+" "+what]
}
