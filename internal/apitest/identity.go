package apitest

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

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// identity is what the server is known by and knows its administrator by.
type identity struct {
	admin                         *rest.Config
	cert, key, accountKey, tokens string // files
	administrators, controllers   string // kubeconfig files
}

// controllers is the user that the controller manager is.
const controllers = "system:kube-controller-manager"

// newIdentity writes a self-signed certificate for 127.0.0.1, a key that signs the tokens of
// ServiceAccounts, and bearer tokens of the administrator and the controllers, both of system:masters.
func newIdentity(dir, url string) (identity, error) {
	id := identity{
		cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key"),
		accountKey:     filepath.Join(dir, "account.key"),
		tokens:         filepath.Join(dir, "tokens.csv"),
		administrators: filepath.Join(dir, "administrator.kubeconfig"),
		controllers:    filepath.Join(dir, "controllers.kubeconfig"),
	}
	key, err := newKey(id.key)
	if err != nil {
		return id, err
	}
	if _, err := newKey(id.accountKey); err != nil {
		return id, err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "apitest"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		return id, err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(id.cert, ca, 0o600); err != nil {
		return id, err
	}
	token, theirs := rand.Text(), rand.Text()
	tokens := fmt.Appendf(nil, "%s,apitest,apitest,system:masters\n%s,%s,%[3]s,system:masters\n", token, theirs,
		controllers)
	if err := os.WriteFile(id.tokens, tokens, 0o600); err != nil {
		return id, err
	}
	id.admin = &rest.Config{Host: url, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: ca}, QPS: -1}
	if err := writeKubeconfig(id.administrators, url, ca, token); err != nil {
		return id, err
	}
	return id, writeKubeconfig(id.controllers, url, ca, theirs)
}

func writeKubeconfig(file, url string, ca []byte, token string) error {
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"apitest": {Server: url, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"apitest": {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{"apitest": {Cluster: "apitest", AuthInfo: "apitest"}},
		CurrentContext: "apitest",
	}, file)
}

// flags are the API server's.
func (id identity) flags() []string {
	return []string{
		"--tls-cert-file=" + id.cert, "--tls-private-key-file=" + id.key, "--token-auth-file=" + id.tokens,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-signing-key-file=" +
			id.accountKey,
		"--service-account-key-file=" + id.accountKey,
	}
}

func newKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}
