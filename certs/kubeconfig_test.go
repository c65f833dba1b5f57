package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func encode(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// intermediate makes a CA signed by root.
func intermediate(t *testing.T, root signing) signing {
	t.Helper()
	key, err := ECDSAP256.newKey()
	if err != nil {
		t.Fatal(err)
	}
	tmpl := *root.cert
	tmpl.Subject.CommonName = "intermediate"
	tmpl.SerialNumber = big.NewInt(2)
	tmpl.SubjectKeyId, tmpl.AuthorityKeyId = nil, nil
	tmpl.RawSubject = nil
	der, err := x509.CreateCertificate(nil, &tmpl, root.cert, key.Public(), root.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signing{cert: c, key: key}
}

// Every kubeconfig is what client-go needs to be somebody to a certain server.
func TestEveryKubeconfig(t *testing.T) {
	p := build(t)
	conf := KubeconfigTree(p.o.KubernetesDir)
	ca, err := os.ReadFile(Tree(p.o.Dir).CA.Cert)
	if err != nil {
		t.Fatal(err)
	}
	const local, shared = "https://192.0.2.10:6443", "https://api.example:6443"
	for _, tt := range []struct{ path, cn, org, server string }{
		{conf.Admin, "kubernetes-admin", "kubeadm:cluster-admins", shared},
		{conf.SuperAdmin, "kubernetes-super-admin", "system:masters", shared},
		{conf.Kubelet, "system:node:node-1", "system:nodes", "https://127.0.0.1:7443"},
		{conf.ControllerManager, "system:kube-controller-manager", "", local},
		{conf.Scheduler, "system:kube-scheduler", "", local},
	} {
		t.Run(tt.cn, func(t *testing.T) {
			c, err := clientcmd.BuildConfigFromFlags("", tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if c.Host != tt.server || !bytes.Equal(c.CAData, ca) {
				t.Errorf("server %s, CA %s", c.Host, c.CAData)
			}
			if want := map[bool]string{true: "kubernetes"}[tt.path == conf.Kubelet]; c.ServerName != want {
				t.Errorf("it expects %q there", c.ServerName)
			}
			own := clientCert(t, c)
			checkIdentity(t, own, tt.cn, tt.org, []x509.ExtKeyUsage{clientAuth}, "")
			checkSigned(t, own, readCert(t, Tree(p.o.Dir).CA.Cert), []x509.ExtKeyUsage{clientAuth})
			checkLife(t, own, time.Now(), year)
		})
	}
	text, err := os.ReadFile(conf.Kubelet)
	if err != nil || strings.Contains(string(text), "client-key-data") {
		t.Errorf("kubelet.conf holds a key itself: %v", err)
	}
}

func clientCert(t *testing.T, c *rest.Config) *x509.Certificate {
	t.Helper()
	if err := rest.LoadTLSFiles(c); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(c.CertData, c.KeyData)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestKubeconfigsThatNoLongerFit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		item  string
		spoil func(*testing.T, *PKI)
		why   string
		wrote string
	}{
		{
			"server changed", "admin", func(_ *testing.T, p *PKI) { p.o.ControlPlaneEndpoint = "https://new:6443" },
			"it points at https://api.example:6443 instead of https://new:6443", "admin.conf",
		},
		{
			"server of the node changed", "kubelet", func(_ *testing.T, p *PKI) { p.o.NodeEndpoint = "https://new:6443" },
			"it points at https://127.0.0.1:7443 instead of https://new:6443", "kubelet.conf",
		},
		{
			"whom the node expects changed", "kubelet", func(_ *testing.T, p *PKI) { p.o.NodeServerName = "" },
			`it expects "kubernetes" there instead of ""`, "kubelet.conf",
		},
		{
			"empty", "scheduler", func(t *testing.T, p *PKI) { write(t, KubeconfigTree(p.o.KubernetesDir).Scheduler, "") },
			"it does not hold a kubeconfig with a cluster and a user", "scheduler.conf",
		},
		{
			"not YAML", "scheduler", func(t *testing.T, p *PKI) { write(t, KubeconfigTree(p.o.KubernetesDir).Scheduler, "\t{") },
			"it does not hold a kubeconfig with a cluster and a user", "scheduler.conf",
		},
		{
			"missing", "super-admin", func(t *testing.T, p *PKI) { remove(t, KubeconfigTree(p.o.KubernetesDir).SuperAdmin) },
			"", "super-admin.conf",
		},
		{
			"kubelet's identity missing", "kubelet", func(t *testing.T, p *PKI) { remove(t, KubeletTree(p.o.KubeletDir).Client) },
			"", "kubelet-client-current.pem",
		},
		{
			"kubelet's identity broken", "kubelet", func(t *testing.T, p *PKI) { write(t, KubeletTree(p.o.KubeletDir).Client, "garbage") },
			"it does not hold a certificate", "kubelet-client-current.pem",
		},
		{
			"kubelet's kubeconfig missing", "kubelet", func(t *testing.T, p *PKI) { remove(t, KubeconfigTree(p.o.KubernetesDir).Kubelet) },
			"", "kubelet.conf",
		},
		{
			"another node's", "kubelet", func(_ *testing.T, p *PKI) { p.o.NodeName = "node-2" },
			"it has the subject CN=system:node:node-1,O=system:nodes instead of CN=system:node:node-2,O=system:nodes",
			"kubelet-client-current.pem kubelet.conf",
		},
		{
			"another cluster's", "admin", func(t *testing.T, p *PKI) {
				move(t, KubeconfigTree(build(t).o.KubernetesDir).Admin, KubeconfigTree(p.o.KubernetesDir).Admin)
			},
			"it trusts another CA", "admin.conf",
		},
		{
			"somebody else's", "admin", func(t *testing.T, p *PKI) {
				move(t, KubeconfigTree(p.o.KubernetesDir).SuperAdmin, KubeconfigTree(p.o.KubernetesDir).Admin)
			},
			"it has a user's certificate that has the subject CN=kubernetes-super-admin,O=system:masters instead of CN=kubernetes-admin,O=kubeadm:cluster-admins",
			"admin.conf",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := build(t)
			tt.spoil(t, p)
			it := find(t, p.Kubeconfigs(), "kubeconfig/"+tt.item)
			writes := plan(t, it)
			if len(writes) == 0 {
				t.Fatal("nothing is planned")
			}
			if got := writes[0].Why; got != tt.why {
				t.Errorf("why: %q, want %q", got, tt.why)
			}
			if diff := cmp.Diff(tt.wrote, strings.Join(apply(t, []Item{it}), " ")); diff != "" {
				t.Errorf("wrote: %s", diff)
			}
		})
	}
}

// kubeadm leaves the kubelet's certificate inside kubelet.conf if it is ended
// early: what works is left alone.
func TestKubeletConfThatHoldsItsUser(t *testing.T) {
	p := build(t)
	k := find(t, p.Kubeconfigs(), "kubeconfig/kubelet").item.(kubeconfig)
	if err := k.embed(); err != nil {
		t.Fatal(err)
	}
	remove(t, k.pem)
	if wrote := apply(t, p.Kubeconfigs()); len(wrote) > 0 {
		t.Fatalf("wrote %v", wrote)
	}
}
