package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/keyutil"
)

// An authority signs certificates, and has an API server that signs what it is
// asked to.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
	http *httptest.Server

	mu       sync.Mutex // guards what follows
	serial   int64
	requests []certificatesv1.CertificateSigningRequest
	asked    []string // by whom: the token or the common name
	seen     []int64  // serial number of each request for the version
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t), serial: 100}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.pem = template, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	a.http = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.http.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	a.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	a.http.StartTLS()
	t.Cleanup(a.http.Close)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign returns a certificate of the node that is valid from and until then.
func (a *authority) sign(key crypto.PublicKey, from, until time.Duration) []byte {
	a.serial++
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: subject("node1"),
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
	}, a.cert, key, a.key)
	if err != nil {
		a.t.Error(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue returns a certificate and its key.
func (a *authority) issue(from, until time.Duration) (cert, key []byte) {
	a.t.Helper()
	k := newKey(a.t)
	key, err := keyutil.MarshalPrivateKeyToPEM(k)
	if err != nil {
		a.t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sign(k.Public(), from, until), key
}

func (a *authority) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.URL.Path == "/version" {
		if len(r.TLS.PeerCertificates) > 0 {
			a.seen = append(a.seen, r.TLS.PeerCertificates[0].SerialNumber.Int64())
		}
		_, _ = io.WriteString(w, `{"major":"1","minor":"37"}`)
		return
	}
	var answer runtime.Object
	switch {
	case r.Method == http.MethodPost:
		answer = a.create(r)
	case r.URL.Query().Get("watch") != "":
		http.Error(w, "no watches", http.StatusMethodNotAllowed)
		return
	default:
		answer = &certificatesv1.CertificateSigningRequestList{
			TypeMeta: metav1.TypeMeta{APIVersion: "certificates.k8s.io/v1", Kind: "CertificateSigningRequestList"},
			ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: a.requests[len(a.requests)-1:],
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := scheme.Codecs.LegacyCodec(certificatesv1.SchemeGroupVersion).Encode(answer, w); err != nil {
		a.t.Error(err)
	}
}

// create signs a request and remembers by whom it was asked.
func (a *authority) create(r *http.Request) runtime.Object {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Error(err)
	}
	csr := &certificatesv1.CertificateSigningRequest{}
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(data, nil, csr); err != nil {
		a.t.Error(err)
	}
	block, _ := pem.Decode(csr.Spec.Request)
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		a.t.Error(err)
	}
	who := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if len(r.TLS.PeerCertificates) > 0 {
		who = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	a.asked = append(a.asked, who)
	csr.Name, csr.UID = fmt.Sprintf("csr-%d", a.serial), "uid"
	csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: "True"}}
	csr.Status.Certificate = a.sign(asked.PublicKey, 0, time.Hour)
	a.requests = append(a.requests, *csr)
	return csr
}

// conf returns a kubeconfig for a user.
func (a *authority) conf(user clientcmdapi.AuthInfo) []byte {
	a.t.Helper()
	server := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.http.Certificate().Raw})
	data, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: a.http.URL, CertificateAuthorityData: server}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": &user},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return data
}

// options are those of a node in a directory of its own.
func (a *authority) options(dir string) ClientOptions {
	return ClientOptions{
		Kubeconfig: filepath.Join(dir, "kubelet.conf"), CertDir: filepath.Join(dir, "pki"), Node: "node1", Rotate: true, QPS: -1,
		Log: slog.New(slog.NewTextHandler(a.t.Output(), nil)),
	}
}

// call makes a request and returns the serial number of the certificate that was
// shown.
func (a *authority) call(c *Client) int64 {
	a.t.Helper()
	if _, err := c.API.Discovery().ServerVersion(); err != nil {
		a.t.Error(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		return 0
	}
	return a.seen[len(a.seen)-1]
}

// until waits until check holds.
func until(t *testing.T, what string, check func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for !check() {
		select {
		case <-limit:
			t.Fatal(what)
		case <-time.After(20 * time.Millisecond): // an HTTP server tells nobody
		}
	}
}

func write(t *testing.T, path string, data ...[]byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, d := range data {
		all = append(all, d...)
	}
	if err := os.WriteFile(path+".new", all, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
