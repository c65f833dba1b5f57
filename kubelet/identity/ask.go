package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/certificate"
	"k8s.io/client-go/util/certificate/csr"
	"k8s.io/client-go/util/keyutil"

	"boot.internal/hint"
)

// An Authority is whom the cluster's certificates are to be signed by.
type Authority struct {
	Certificate *x509.Certificate
	// Chain follows the certificate that the node serves with, in PEM: whoever
	// trusts only the authority before gets from one to the other by it.
	Chain []byte
}

// ErrOtherSigner is what comes of asking while the cluster does not sign by the
// authority yet.
var ErrOtherSigner = errors.New("the cluster still signs by another authority")

// A request is for one certificate, at once: client-go's manager asks by the end of
// the one there is, and knows no other reason.
type request struct {
	signer   string
	usages   func(key any) []certificatesv1.KeyUsage
	template *x509.CertificateRequest
	chain    []byte
}

// signedBy says whether a certificate is by an authority.
func signedBy(c *tls.Certificate, by Authority) bool {
	return c != nil && c.Leaf != nil && c.Leaf.CheckSignatureFrom(by.Certificate) == nil
}

// Ask has the cluster sign the client certificate again, unless it is signed by the
// authority already, and returns once it is used.
func (c *Client) Ask(ctx context.Context, by Authority) error {
	if c.held == nil {
		return hint.With(errors.New("the node does not ask for its client certificate (rotateCertificates is off)"),
			"put one of the new authority into its kubeconfig, and restart the node agent")
	}
	if signedBy(c.Certificate(), by) {
		return nil
	}
	q := request{
		signer: certificatesv1.KubeAPIServerClientKubeletSignerName, usages: certificate.DefaultKubeletClientGetUsages,
		template: &x509.CertificateRequest{Subject: subject(c.held.o.Node)},
	}
	if err := q.ask(ctx, c.API, c.held.store, by); err != nil {
		return fmt.Errorf("ask for a client certificate: %w", err)
	}
	return nil
}

// Ask does for the serving certificate what that of a [Client] does for its own.
func (s *Serving) Ask(ctx context.Context, client kubernetes.Interface, by Authority) error {
	if signedBy(s.Certificate(), by) {
		return nil
	}
	q := request{
		signer: certificatesv1.KubeletServingSignerName, usages: certificate.DefaultKubeletServingGetUsages,
		template: s.template(), chain: by.Chain,
	}
	if q.template == nil {
		return errors.New("ask for a serving certificate: the node has no address yet")
	}
	if err := q.ask(ctx, client, s.store, by); err != nil {
		return fmt.Errorf("ask for a serving certificate: %w", err)
	}
	return nil
}

// ask makes a key, has it signed and stores both. What another authority has signed
// is thrown away.
func (q request) ask(ctx context.Context, client kubernetes.Interface, to *store, by Authority) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	text, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, q.template, key)
	if err != nil {
		return err
	}
	asked := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	name, uid, err := csr.RequestCertificateWithContext(ctx, client, asked, "", q.signer, nil, q.usages(key), key)
	if err != nil {
		return err
	}
	signed, err := csr.WaitForCertificate(ctx, client, name, uid)
	if err != nil {
		return err
	}
	c, err := leaf(signed)
	if err != nil {
		return err
	}
	if c.CheckSignatureFrom(by.Certificate) != nil {
		return ErrOtherSigner
	}
	_, err = to.Update(append(signed, q.chain...), text)
	return err
}
