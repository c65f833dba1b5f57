package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// trustTests are about certificates that volumes show.
func trustTests() []podTest {
	return []podTest{
		{"volumes of trust bundles", testTrustBundles},
		{"volumes of pod certificates", testPodCertificates},
	}
}

// A testCA issues certificates in a test.
type testCA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  string
}

func newTestCA(t *testing.T, name string) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ca := &testCA{key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	ca.pem = ca.issue(t, ca.cert, key.Public())
	return ca
}

// issue signs a certificate and returns it as PEM.
func (ca *testCA) issue(t *testing.T, cert *x509.Certificate, public any) string {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, ca.cert, public, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func testTrustBundles(t *testing.T, c *podCluster) {
	bundles := c.Client.CertificatesV1().ClusterTrustBundles()
	publish := func(name, signer, text string) {
		t.Helper()
		if _, err := bundles.Create(t.Context(), &certificatesv1.ClusterTrustBundle{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"of": c.Namespace}},
			Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: text},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := bundles.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	one, two := newTestCA(t, "one"), newTestCA(t, "two")
	publish("e2e.boot.internal:trust:one", "e2e.boot.internal/trust", one.pem)
	p := boxPod("box", "sleep", "infinity")
	c.mount(p, "ca", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{
			SignerName: new("e2e.boot.internal/trust"), Path: "signer.pem",
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"of": c.Namespace}},
		}},
		{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: new("e2e-named"), Path: "named.pem", Optional: new(true)}},
	}}})
	c.Create(t, p)
	c.AwaitReady(t, "box")
	if got := c.mustBox(t, "cat", "/ca/signer.pem", "/ca/named.pem"); got != one.pem {
		t.Errorf("the pod trusts\n%s, want\n%s", got, one.pem)
	}
	publish("e2e.boot.internal:trust:two", "e2e.boot.internal/trust", two.pem)
	publish("e2e-named", "", "words\n"+two.pem)
	c.awaitBox(t, two.pem, "cat", "/ca/signer.pem")
	c.awaitBox(t, two.pem, "cat", "/ca/named.pem")
}

func testPodCertificates(t *testing.T, c *podCluster) {
	p := boxPod("box", "sleep", "infinity")
	c.mount(p, "cert", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{PodCertificate: &corev1.PodCertificateProjection{
			SignerName: "e2e.boot.internal/pods", KeyType: "ECDSAP256", MaxExpirationSeconds: new(int32(3600)),
			CredentialBundlePath: "all.pem", KeyPath: "key.pem", CertificateChainPath: "chain.pem",
		}},
	}}})
	c.Create(t, p)
	ca := newTestCA(t, "pods")
	c.sign(t, ca, "box")
	c.AwaitReady(t, "box")
	for _, files := range [][2]string{{"all.pem", "all.pem"}, {"chain.pem", "key.pem"}} {
		chain, key := c.mustBox(t, "cat", "/cert/"+files[0]), c.mustBox(t, "cat", "/cert/"+files[1])
		pair, err := tls.X509KeyPair([]byte(chain), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		if pair.Leaf.Subject.CommonName != "box" {
			t.Errorf("the certificate is for %s", pair.Leaf.Subject)
		}
	}
}

// sign issues what a pod asks for.
func (c *podCluster) sign(t *testing.T, ca *testCA, name string) {
	t.Helper()
	requests := c.Client.CertificatesV1().PodCertificateRequests(c.Namespace)
	var request *certificatesv1.PodCertificateRequest
	lab.Until(t, patience, "see the request of pod "+name, func(ctx context.Context) error {
		list, err := requests.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if request = &list.Items[i]; request.Spec.PodName == name {
				return nil
			}
		}
		return fmt.Errorf("there are %d", len(list.Items))
	})
	if request.Spec.NodeName != "" && !strings.HasPrefix(string(request.Spec.NodeName), c.Name) {
		t.Errorf("the request is of node %s", request.Spec.NodeName)
	}
	proof, err := x509.ParseCertificateRequest(request.Spec.StubPKCS10Request)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().Truncate(time.Second)
	end := start.Add(time.Hour)
	request.Status = certificatesv1.PodCertificateRequestStatus{
		Conditions: []metav1.Condition{{
			Type: certificatesv1.PodCertificateRequestConditionTypeIssued, Status: metav1.ConditionTrue,
			Reason: "Test", Message: "issued by a test", LastTransitionTime: metav1.NewTime(start),
		}},
		CertificateChain: ca.issue(t, &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: start, NotAfter: end,
			KeyUsage: x509.KeyUsageDigitalSignature,
		}, proof.PublicKey),
		NotBefore: new(metav1.NewTime(start)), BeginRefreshAt: new(metav1.NewTime(start.Add(30 * time.Minute))), NotAfter: new(metav1.NewTime(end)),
	}
	if _, err := requests.UpdateStatus(t.Context(), request, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
