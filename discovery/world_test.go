package discovery

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/cluster-bootstrap/token/jws"

	"boot.internal/config"
)

const (
	tokenID     = "abcdef"
	tokenSecret = "0123456789abcdef"
	token       = tokenID + "." + tokenSecret
)

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.pem = sign(t, template, template, a.key, a.key)
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

func sign(t *testing.T, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) (*x509.Certificate, []byte) {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

// leaf signs a certificate for 127.0.0.1, or for a client by the name of cn.
func (a *authority) leaf(t *testing.T, cn string) (cert, key []byte) {
	t.Helper()
	k := newKey(t)
	_, cert = sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: cn}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, k, a.key)
	raw, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

// A cluster answers like an API server, as far as joining nodes ask.
type cluster struct {
	*httptest.Server
	ca *authority

	mu      sync.Mutex
	info    corev1.ConfigMap
	maps    map[string]*corev1.ConfigMap
	nodes   map[string]*corev1.Node
	tokens  []string // that are accepted
	date    time.Time
	strange int // the code with which cluster-info is answered, 0 for the ConfigMap
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{ca: newAuthority(t), tokens: []string{token}, nodes: map[string]*corev1.Node{}, maps: map[string]*corev1.ConfigMap{
		"kubeadm-config": {Data: map[string]string{"ClusterConfiguration": document(config.KubeadmAPIVersion, "ClusterConfiguration") + "kubernetesVersion: " + config.DefaultKubernetesVersion + "\n"}},
		"kubelet-config": {Data: map[string]string{"kubelet": document(config.KubeletAPIVersion, "KubeletConfiguration") + "clusterDNS: [10.96.0.10]\nfieldOfTomorrow: 1\n"}},
	}}
	kubeconfig, err := clientcmd.Write(clientcmdapi.Config{Clusters: map[string]*clientcmdapi.Cluster{"": {Server: "https://10.0.0.1:6443", CertificateAuthorityData: c.ca.pem}}})
	if err != nil {
		t.Fatal(err)
	}
	c.info.Data = map[string]string{"kubeconfig": string(kubeconfig)}
	c.signs(t, tokenID, tokenSecret)
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	cert, key := c.ca.leaf(t, "kube-apiserver")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	c.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	c.StartTLS()
	t.Cleanup(c.Close)
	return c
}

func document(apiVersion, kind string) string {
	return "apiVersion: " + apiVersion + "\nkind: " + kind + "\n"
}

// signs makes the token known.
func (c *cluster) signs(t *testing.T, id, secret string) {
	t.Helper()
	signature, err := jws.ComputeDetachedSignature(c.info.Data["kubeconfig"], id, secret)
	if err != nil {
		t.Fatal(err)
	}
	c.info.Data["jws-kubeconfig-"+id] = signature
}

func (c *cluster) address() string { return strings.TrimPrefix(c.URL, "https://") }

func (c *cluster) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.date.IsZero() {
		w.Header().Set("Date", c.date.UTC().Format(http.TimeFormat))
	}
	w.Header().Set("Content-Type", "application/json")
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	switch {
	case name == "cluster-info" && c.strange != 0:
		w.WriteHeader(c.strange)
	case name == "cluster-info":
		answerWith(w, &c.info)
	case !c.knows(r):
		refuse(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized)
	case strings.Contains(r.URL.Path, "/nodes/") && c.nodes[name] != nil:
		answerWith(w, c.nodes[name])
	case strings.Contains(r.URL.Path, "/configmaps/") && c.maps[name] != nil:
		answerWith(w, c.maps[name])
	default:
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	}
}

// knows accepts tokens, and whom the authority has signed a certificate for.
func (c *cluster) knows(r *http.Request) bool {
	for _, cert := range r.TLS.PeerCertificates {
		if cert.CheckSignatureFrom(c.ca.cert) == nil {
			return true
		}
	}
	for _, t := range c.tokens {
		if r.Header.Get("Authorization") == "Bearer "+t {
			return true
		}
	}
	return false
}

func answerWith(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.WriteHeader(code)
	answerWith(w, &metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason})
}

func pairFrom(t *testing.T, cert, key []byte) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
