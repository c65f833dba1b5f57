package discovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"boot.internal/config"
)

// A past is what this node has of an earlier join: the authority it trusts and, once
// the cluster has signed it, its certificate.
type past struct {
	ca    []byte
	login *clientcmdapi.AuthInfo // nil without a certificate that is valid
}

const resetFirst = "run 'boot reset' to take this host out of the other cluster, then join again"

// readOwn reads the kubeconfig of the node. What is not there, or of no use any
// more, is nothing.
func readOwn(path, node string, now time.Time) (past, error) {
	conf, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return past{}, nil
	}
	if err != nil {
		return past{}, fail(ErrMember, fmt.Sprintf("read %s: %v", path, err), "remove the file, or run 'boot reset'")
	}
	cluster, user, err := current(conf)
	if err != nil {
		return past{}, fail(ErrMember, fmt.Sprintf("read %s: %v", path, err), "remove the file, or run 'boot reset'")
	}
	o := past{ca: cluster.CertificateAuthorityData}
	if len(o.ca) == 0 && cluster.CertificateAuthority != "" {
		if o.ca, err = os.ReadFile(cluster.CertificateAuthority); err != nil {
			return past{}, fmt.Errorf("read %s: %w", path, err)
		}
	}
	if pair, err := pairOf(user); err == nil && valid(pair, o.ca, node, now) {
		o.login = user
	}
	return o, nil
}

func pairOf(user *clientcmdapi.AuthInfo) (tls.Certificate, error) {
	if user.ClientCertificate != "" && len(user.ClientCertificateData) == 0 {
		return tls.LoadX509KeyPair(user.ClientCertificate, user.ClientKey)
	}
	return tls.X509KeyPair(user.ClientCertificateData, user.ClientKeyData)
}

// valid tells whether the authority has signed the certificate for the node, and
// still does.
func valid(pair tls.Certificate, ca []byte, node string, now time.Time) bool {
	roots, way := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, der := range pair.Certificate[1:] { // an authority that took the place of another shows who vouches for it
		if c, err := x509.ParseCertificate(der); err == nil {
			way.AddCert(c)
		}
	}
	if pair.Leaf == nil || pair.Leaf.Subject.CommonName != "system:node:"+node {
		return false
	}
	_, err := pair.Leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: way, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

// byOwn trusts the authority that this node has trusted before.
func (o Options) byOwn(ctx context.Context, t *config.BootstrapTokenDiscovery, own past) (*Cluster, error) {
	c := &Cluster{Server: "https://" + t.APIServerEndpoint, CA: own.ca}
	if pinned(own.ca, t.CACertHashes, c.Server) != nil {
		return nil, fail(ErrMember, "this host is a node of another cluster than the one whose authority is pinned", resetFirst)
	}
	_, err := until(ctx, func(ctx context.Context) (*answer, error) { return get(ctx, c.Server, c.CA) })
	switch err = o.ofClock(ctx, c.Server, err); {
	case errors.Is(err, ErrUntrusted):
		return nil, fail(ErrMember, "this host is a node of another cluster than the one at "+c.Server, resetFirst)
	case errors.Is(err, ErrNotJoinable):
		return c, nil // as a node, it reads what strangers may not
	}
	return c, err
}

// Joined tells whether the kubeconfig of a node has a certificate that the
// authority has signed for it. An error says that it is of another cluster.
func Joined(kubeconfig, node string, ca []byte) (bool, error) {
	o, err := readOwn(kubeconfig, node, time.Now())
	if err != nil || o.ca == nil {
		return false, err
	}
	if !SameAuthority(o.ca, ca) {
		return false, fail(ErrMember, kubeconfig+" is of another cluster", resetFirst)
	}
	return o.login != nil, nil
}
