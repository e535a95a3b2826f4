package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// TestWrite lets a client with one of the kubeconfigs talk to a server with the API server's certificate.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := r.TLS.PeerCertificates[0].Subject
		_, _ = w.Write([]byte(user.CommonName + " " + user.Organization[0]))
	}))
	c := Cluster{Dir: dir, Node: "node", NodeIP: "10.250.0.2", ServiceIP: "10.96.0.1",
		Server: "https://" + server.Listener.Addr().String()}
	if err := c.Write(); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "apiserver.crt"), filepath.Join(dir, "apiserver.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert}
	server.StartTLS()
	defer server.Close()

	for name, want := range map[string]string{"admin": "admin system:masters",
		"kubelet": "system:node:node system:nodes"} {
		config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, name+".kubeconfig"))
		if err != nil {
			t.Fatal(err)
		}
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Get(config.Host)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 100)
		n, _ := res.Body.Read(got)
		res.Body.Close()
		if string(got[:n]) != want {
			t.Errorf("%s.kubeconfig is %s, want %s", name, got[:n], want)
		}
	}
	for _, ip := range []string{"10.250.0.2", "10.96.0.1", "127.0.0.1"} {
		if err := pair.Leaf.VerifyHostname(net.ParseIP(ip).String()); err != nil {
			t.Error(err)
		}
	}
}
