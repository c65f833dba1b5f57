package approve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func nodeOf(name string, addresses ...string) v1.Node {
	n := v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.NodeStatus{
		Addresses: []v1.NodeAddress{{Type: v1.NodeHostName, Address: name}},
	}}
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: a})
	}
	return n
}

// newRequest returns what node n1 asks for, changed.
func newRequest(t *testing.T, change func(*x509.CertificateRequest)) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes"}},
		DNSNames: []string{"n1"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "csr-1"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificatesv1.KubeletServingSignerName, Username: "system:node:n1", Groups: []string{"system:nodes", "system:authenticated"},
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		},
	}
}

func TestCheck(t *testing.T) {
	type request = certificatesv1.CertificateSigningRequest
	nodes := []v1.Node{nodeOf("n1", "192.0.2.1", "2001:DB8::1"), nodeOf("n2", "192.0.2.2")}
	for _, c := range []struct {
		name   string
		asks   func(*x509.CertificateRequest)
		change func(*request)
		nodes  []v1.Node
		fails  string
	}{
		{"it checks out", nil, nil, nodes, ""},
		{"an IP alone", func(r *x509.CertificateRequest) { r.DNSNames = nil }, nil, nodes, ""},
		{"no node", nil, func(r *request) { r.Spec.Username = "joe" }, nodes, "joe is no node"},
		{"not in the group", nil, func(r *request) { r.Spec.Groups = nil }, nodes, "is no node"},
		{"for another", func(r *x509.CertificateRequest) { r.Subject.CommonName = "system:node:n2" }, nil, nodes, "the subject"},
		{"another group", func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"system:masters"} }, nil, nodes, "the subject"},
		{"one group more", func(r *x509.CertificateRequest) { r.Subject.Organization = append(r.Subject.Organization, "x") }, nil, nodes, "the subject"},
		{"to be a client", nil, func(r *request) { r.Spec.Usages = append(r.Spec.Usages, certificatesv1.UsageClientAuth) }, nodes, "not for serving"},
		{"not to serve", nil, func(r *request) { r.Spec.Usages = r.Spec.Usages[:1] }, nodes, "not for serving"},
		{"nothing", func(r *x509.CertificateRequest) { r.DNSNames, r.IPAddresses = nil, nil }, nil, nodes, "no name and no IP"},
		{"another's name", func(r *x509.CertificateRequest) { r.DNSNames = []string{"n2"} }, nil, nodes, "n2 is not an address of node n1"},
		{"another's IP", func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.ParseIP("192.0.2.2")} }, nil, nodes, "192.0.2.2 is not an address"},
		{"loopback", func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.IPv6loopback} }, nil, []v1.Node{nodeOf("n1", "::1")}, "not one of a node"},
		{"mail", func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@b.test"} }, nil, nodes, "more than names"},
		{"a URI", func(r *x509.CertificateRequest) { r.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} }, nil, nodes, "more than names"},
		{"an unknown node", nil, nil, nodes[1:], "not an address of node n1"},
		{"what two claim", nil, nil, append(nodes[:2:2], nodeOf("n3", "192.0.2.1")), "192.0.2.1 is an address of nodes n1, n3"},
		{"no request", nil, func(r *request) { r.Spec.Request = []byte("x") }, nodes, "no certificate request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			csr := newRequest(t, c.asks)
			if c.change != nil {
				c.change(csr)
			}
			if err := Check(csr, c.nodes); (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("error %v, want %q", err, c.fails)
			}
		})
	}
}

// A request that checks out is approved, one that does not yet is once it does,
// and others are left alone.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n1 := nodeOf("n1")
		good, other, denied := newRequest(t, nil), newRequest(t, nil), newRequest(t, nil)
		other.Name, other.Spec.SignerName = "other", certificatesv1.KubeAPIServerClientKubeletSignerName
		denied.Name, denied.Status.Conditions = "denied", []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied}}
		client := fake.NewClientset(&n1, good, other, denied)
		go Run(t.Context(), client, slog.New(slog.NewTextHandler(t.Output(), nil)))
		synctest.Wait()
		conditions := func(name string) int {
			csr, err := client.CertificatesV1().CertificateSigningRequests().Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return len(csr.Status.Conditions)
		}
		if conditions("csr-1") != 0 {
			t.Error("the node does not have these addresses")
		}
		n1 = nodeOf("n1", "192.0.2.1", "2001:db8::1")
		if _, err := client.CoreV1().Nodes().Update(t.Context(), &n1, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryAfter + time.Second)
		synctest.Wait()
		if conditions("csr-1") != 1 || conditions("other") != 0 || conditions("denied") != 1 {
			t.Errorf("conditions %d, %d, %d", conditions("csr-1"), conditions("other"), conditions("denied"))
		}
	})
}
