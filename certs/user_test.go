package certs

import (
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

func userOf(t *testing.T, data []byte) (*api.Cluster, *api.AuthInfo) {
	t.Helper()
	c, err := clientcmd.Load(data)
	if err != nil {
		t.Fatal(err)
	}
	at := c.Contexts[c.CurrentContext]
	return c.Clusters[at.Cluster], c.AuthInfos[at.AuthInfo]
}

func TestUserKubeconfig(t *testing.T) {
	o := build(t).o
	u := UserOptions{
		Name: "jane", Groups: []string{"developers", "testers"}, Dir: o.Dir, ClusterName: "kubernetes",
		Server: "https://192.0.2.10:6443", Algorithm: ECDSAP256, Period: time.Hour,
	}
	data, err := UserKubeconfig(u)
	if err != nil {
		t.Fatal(err)
	}
	cluster, user := userOf(t, data)
	if cluster.Server != u.Server || user.Token != "" {
		t.Errorf("server %s, token %q", cluster.Server, user.Token)
	}
	chain, err := parseCerts("user", user.ClientCertificateData)
	if err != nil {
		t.Fatal(err)
	}
	key, err := parseKey("user", user.ClientKeyData)
	if err != nil || !belong(chain[0].PublicKey, key) {
		t.Errorf("the key is not that of the certificate: %v", err)
	}
	c := chain[0]
	slices.Sort(c.Subject.Organization)
	if c.Subject.CommonName != "jane" || !slices.Equal(c.Subject.Organization, u.Groups) {
		t.Errorf("subject %s", c.Subject)
	}
	if !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Errorf("usages %v", c.ExtKeyUsage)
	}
	if left := time.Until(c.NotAfter); left > time.Hour+time.Minute || left < 50*time.Minute { // cfssl rounds to minutes
		t.Errorf("lives another %s", left)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cluster.CertificateAuthorityData)
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: c.ExtKeyUsage}); err != nil {
		t.Error(err)
	}
}

func TestUserKubeconfigWithoutTheKeyOfTheCA(t *testing.T) {
	o := build(t).o
	if err := os.Remove(Tree(o.Dir).CA.Key); err != nil {
		t.Fatal(err)
	}
	u := UserOptions{Name: "jane", Dir: o.Dir, ClusterName: "kubernetes", Server: "https://192.0.2.10:6443", Algorithm: ECDSAP256, Period: time.Hour}
	_, err := UserKubeconfig(u)
	var h interface{ Hint() string }
	if !errors.Is(err, os.ErrNotExist) || !errors.As(err, &h) {
		t.Errorf("error %v", err)
	}
	u.Token = "some.token"
	data, err := UserKubeconfig(u)
	if err != nil {
		t.Fatal(err)
	}
	if _, user := userOf(t, data); user.Token != u.Token || user.ClientKeyData != nil {
		t.Errorf("user %v", user)
	}
}
