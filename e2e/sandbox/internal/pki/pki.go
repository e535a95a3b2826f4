// Package pki issues the certificates and kubeconfigs of a one-node cluster.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// lifetime is long for a sandbox, short for a leaked key.
const lifetime = 90 * 24 * time.Hour

// Cluster names what the certificates are for.
type Cluster struct {
	Dir       string // where files are written
	Node      string // name of the node
	NodeIP    string // address of the node and of the API server
	ServiceIP string // of the kubernetes Service
	Server    string // URL of the API server
}

// client is a user of the API server.
type client struct {
	name   string // of its files
	user   string
	groups []string
}

// clients have names of their own, so that the audit log tells who asked.
var clients = []client{
	{"admin", "admin", []string{"system:masters"}},
	{"harness", "serin-sandbox", []string{"system:masters"}},
	{"istiod", "istiod", []string{"system:masters"}},
	{"metrics-server", "metrics-server", []string{"system:masters"}},
	{"flagger", "flagger", []string{"system:masters"}},
	{"kcm", "system:kube-controller-manager", nil},
	{"scheduler", "system:kube-scheduler", nil},
	{"proxy", "system:kube-proxy", nil},
}

// Write makes all files: NAME.crt, NAME.key, NAME.kubeconfig, sa.key and sa.pub.
func (c Cluster) Write() error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	ca, err := c.authority("ca")
	if err != nil {
		return err
	}
	front, err := c.authority("front-proxy-ca")
	if err != nil {
		return err
	}
	ip := net.ParseIP(c.NodeIP)
	local := net.IPv4(127, 0, 0, 1)
	kubernetes := []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		"localhost", c.Node,
	}
	steps := []func() error{
		func() error { return c.server(ca, "apiserver", kubernetes, local, net.ParseIP(c.ServiceIP), ip) },
		func() error { return c.server(ca, "kubelet-server", []string{c.Node, "localhost"}, local, ip) },
		func() error { return c.server(ca, "istiod-webhook", []string{"istiod.istio-system.svc"}, ip) },
		func() error {
			return c.server(ca, "metrics-server-api", []string{"metrics-server.kube-system.svc"}, ip)
		},
		func() error {
			return c.client(ca, client{"apiserver-kubelet", "kube-apiserver-kubelet-client",
				[]string{"system:masters"}})
		},
		func() error { return c.client(front, client{"front-proxy", "front-proxy-client", nil}) },
		func() error {
			return c.client(ca, client{"kubelet", "system:node:" + c.Node, []string{"system:nodes"}})
		},
		c.serviceAccountKey,
	}
	for _, u := range clients {
		steps = append(steps, func() error { return c.client(ca, u) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("issuing the cluster's certificates: %w", err)
		}
	}
	return nil
}

// authority is a certificate that signs others.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func (c Cluster) authority(name string) (authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	return c.issue(name, template, nil)
}

func (c Cluster) server(ca authority, name string, dns []string, ips ...net.IP) error {
	_, err := c.issue(name, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    dns,
		IPAddresses: ips,
	}, &ca)
	return err
}

func (c Cluster) client(ca authority, u client) error {
	got, err := c.issue(u.name, &x509.Certificate{
		Subject:     pkix.Name{CommonName: u.user, Organization: u.groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, &ca)
	if err != nil {
		return err
	}
	return c.kubeconfig(u.name, ca.pem, got)
}

// issue signs the template with a new key, by ca or by itself, and writes both files.
func (c Cluster) issue(name string, template *x509.Certificate, ca *authority) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return authority{}, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(lifetime)
	parent, signer := template, key
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, err
	}
	out := authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	if err := os.WriteFile(filepath.Join(c.Dir, name+".crt"), out.pem, 0o600); err != nil {
		return authority{}, err
	}
	return out, c.writeKey(name, key)
}

func (c Cluster) writeKey(name string, key *ecdsa.PrivateKey) error {
	b, err := keyPEM(key)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.Dir, name+".key"), b, 0o600)
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// serviceAccountKey signs the tokens of pods.
func (c Cluster) serviceAccountKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := c.writeKey("sa", key); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.Dir, "sa.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		0o600)
}

func (c Cluster) kubeconfig(name string, caPEM []byte, cert authority) error {
	key, err := keyPEM(cert.key)
	if err != nil {
		return err
	}
	const entry = "serin-sandbox"
	config := clientcmdapi.NewConfig()
	config.Clusters[entry] = &clientcmdapi.Cluster{Server: c.Server, CertificateAuthorityData: caPEM}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: cert.pem, ClientKeyData: key}
	config.Contexts[entry] = &clientcmdapi.Context{Cluster: entry, AuthInfo: name}
	config.CurrentContext = entry
	return clientcmd.WriteToFile(*config, filepath.Join(c.Dir, name+".kubeconfig"))
}
