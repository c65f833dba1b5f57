package discovery

import (
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

// own is what this node has of an earlier join: the authority it trusts and, once
// the cluster has signed it, its certificate.
type own struct {
	ca    []byte
	login *clientcmdapi.AuthInfo // nil without a certificate that is valid
}

const resetFirst = "run 'boot reset' to take this host out of the other cluster, then join again"

// readOwn reads the kubeconfig of the node. What is not there, or of no use any
// more, is nothing.
func readOwn(path, node string, now time.Time) (own, error) {
	conf, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return own{}, nil
	}
	if err != nil {
		return own{}, fail(ErrMember, fmt.Sprintf("read %s: %v", path, err), "remove the file, or run 'boot reset'")
	}
	cluster, user, err := current(conf)
	if err != nil {
		return own{}, fail(ErrMember, fmt.Sprintf("read %s: %v", path, err), "remove the file, or run 'boot reset'")
	}
	o := own{ca: cluster.CertificateAuthorityData}
	if len(o.ca) == 0 && cluster.CertificateAuthority != "" {
		if o.ca, err = os.ReadFile(cluster.CertificateAuthority); err != nil {
			return own{}, fmt.Errorf("read %s: %w", path, err)
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
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	if pair.Leaf == nil || pair.Leaf.Subject.CommonName != "system:node:"+node {
		return false
	}
	_, err := pair.Leaf.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

// confirm compares the cluster that was found, or was not, with the one this node
// belongs to. A node that has joined needs no token any more: the same command
// goes on where it ended, also when the token has.
func (o own) confirm(c **Cluster, err error, t *config.BootstrapTokenDiscovery) error {
	switch {
	case err == nil && o.ca != nil && !sameAuthority(o.ca, (*c).CA):
		return fail(ErrMember, "this host is a node of another cluster than the one at "+(*c).Server, resetFirst)
	case err != nil && o.login != nil && t != nil && errors.Is(err, ErrToken):
		server := "https://" + t.APIServerEndpoint
		if pinned(o.ca, t.CACertHashes, server) != nil {
			return fail(ErrMember, "this host is a node of another cluster than the one whose authority is pinned", resetFirst)
		}
		*c = &Cluster{Server: server, CA: o.ca}
	case err != nil:
		return err
	}
	if o.login != nil {
		(*c).Joined, (*c).login = true, *o.login
	}
	return nil
}

// is tells whether err is of a kind, however it is wrapped.
func is[T error](err, kind error) bool {
	var f T
	return errors.As(err, &f) && errors.Is(err, kind)
}

// Joined tells whether the kubeconfig of a node has a certificate that the
// authority has signed for it. An error says that it is of another cluster.
func Joined(kubeconfig, node string, ca []byte) (bool, error) {
	o, err := readOwn(kubeconfig, node, time.Now())
	if err != nil || o.ca == nil {
		return false, err
	}
	if !sameAuthority(o.ca, ca) {
		return false, fail(ErrMember, kubeconfig+" is of another cluster", resetFirst)
	}
	return o.login != nil, nil
}
