package certs

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var serverAuth, clientAuth = x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth

// expected is the PKI by kubeadm's documentation, told independently of table.
var expected = []struct {
	name, file, ca, cn, org string
	usages                  []x509.ExtKeyUsage
	sans                    string
}{
	{"ca", "etc/pki/ca", "", "kubernetes", "", nil, ""},
	{
		"apiserver", "etc/pki/apiserver", "etc/pki/ca", "kube-apiserver", "",
		[]x509.ExtKeyUsage{serverAuth},
		"*.example 10.96.0.1 192.0.2.10 198.51.100.7 api.example kubernetes kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local node-1",
	},
	{"apiserver-kubelet-client", "etc/pki/apiserver-kubelet-client", "etc/pki/ca", "kube-apiserver-kubelet-client", "", []x509.ExtKeyUsage{clientAuth}, ""},
	{"kubelet", "kubelet/pki/kubelet", "etc/pki/ca", "system:node:node-1", "system:nodes", []x509.ExtKeyUsage{serverAuth}, "192.0.2.10 node-1"},
	{"front-proxy-ca", "etc/pki/front-proxy-ca", "", "front-proxy-ca", "", nil, ""},
	{"front-proxy-client", "etc/pki/front-proxy-client", "etc/pki/front-proxy-ca", "front-proxy-client", "", []x509.ExtKeyUsage{clientAuth}, ""},
	{"etcd-ca", "etc/pki/etcd/ca", "", "etcd-ca", "", nil, ""},
	{
		"etcd-server", "etc/pki/etcd/server", "etc/pki/etcd/ca", "node-1", "",
		[]x509.ExtKeyUsage{serverAuth, clientAuth},
		"127.0.0.1 192.0.2.10 ::1 etcd.example localhost node-1",
	},
	{
		"etcd-peer", "etc/pki/etcd/peer", "etc/pki/etcd/ca", "node-1", "",
		[]x509.ExtKeyUsage{serverAuth, clientAuth},
		"127.0.0.1 192.0.2.10 ::1 localhost node-1 peer.example",
	},
	{"etcd-healthcheck-client", "etc/pki/etcd/healthcheck-client", "etc/pki/etcd/ca", "kube-etcd-healthcheck-client", "", []x509.ExtKeyUsage{clientAuth}, ""},
	{"apiserver-etcd-client", "etc/pki/apiserver-etcd-client", "etc/pki/etcd/ca", "kube-apiserver-etcd-client", "", []x509.ExtKeyUsage{clientAuth}, ""},
}

func TestEveryCertificate(t *testing.T) {
	dir := t.TempDir()
	p := New(options(dir))
	before := time.Now()
	apply(t, p.All())

	for _, want := range expected {
		t.Run(want.name, func(t *testing.T) {
			path := filepath.Join(dir, want.file)
			c := readCert(t, path+".crt")
			checkIdentity(t, c, want.cn, want.org, want.usages, want.sans)
			ca, life := c, 10*year
			if want.ca != "" {
				ca, life = readCert(t, filepath.Join(dir, want.ca+".crt")), year
			}
			checkSigned(t, c, ca, want.usages)
			checkLife(t, c, before, life)
			if c.IsCA != (want.ca == "") {
				t.Errorf("IsCA is %v", c.IsCA)
			}
			checkMode(t, path+".crt", 0o644)
			checkMode(t, path+".key", 0o600)
			if key, err := readKey(path + ".key"); err != nil || !belong(c.PublicKey, key) {
				t.Errorf("key %T does not belong, %v", key, err)
			}
		})
	}
	if got := len(p.EtcdCerts()) + len(p.ClusterCerts()); got != len(expected)+1 {
		t.Errorf("%d items, want those expected and the service account keys", got)
	}
}

func checkIdentity(t *testing.T, c *x509.Certificate, cn, org string, usages []x509.ExtKeyUsage, sans string) {
	t.Helper()
	if c.Subject.CommonName != cn || strings.Join(c.Subject.Organization, ",") != org {
		t.Errorf("subject %s, want CN=%s,O=%s", c.Subject, cn, org)
	}
	if diff := cmp.Diff(usages, c.ExtKeyUsage); diff != "" {
		t.Errorf("usages: %s", diff)
	}
	got := names(c)
	slices.Sort(got)
	if diff := cmp.Diff(sans, strings.Join(got, " ")); diff != "" {
		t.Errorf("names: %s", diff)
	}
}

func checkSigned(t *testing.T, c, ca *x509.Certificate, usages []x509.ExtKeyUsage) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, usage := range append(usages, x509.ExtKeyUsageAny) {
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("verify for %v: %v", usage, err)
		}
	}
	if !c.IsCA && c.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment {
		t.Errorf("key usage %b", c.KeyUsage)
	}
	if c.IsCA && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Errorf("key usage %b", c.KeyUsage)
	}
}

// checkLife allows the minute cfssl rounds to.
func checkLife(t *testing.T, c *x509.Certificate, made time.Time, life time.Duration) {
	t.Helper()
	if d := made.Sub(c.NotBefore); d < 4*time.Minute || d > 6*time.Minute {
		t.Errorf("backdated by %s", d)
	}
	if d := c.NotAfter.Sub(made) - life; d < -2*time.Minute || d > 2*time.Minute {
		t.Errorf("lives %s longer than %s", d, life)
	}
}

func checkMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil || fi.Mode() != want {
		t.Errorf("%s: mode %v, %v; want %v", path, fi.Mode(), err, want)
	}
}

func TestServiceAccountKeys(t *testing.T) {
	p := build(t)
	files := Tree(p.o.Dir).SA
	checkMode(t, files.Key, 0o600)
	checkMode(t, files.Cert, 0o644)
	key, err := readKey(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	want, err := publicPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(files.Cert); err != nil || string(got) != string(want) {
		t.Fatalf("sa.pub holds %s, %v", got, err)
	}
}

func TestAlgorithms(t *testing.T) {
	for algorithm, bits := range map[Algorithm]int{ECDSAP256: 256, ECDSAP384: 384, RSA2048: 2048, RSA3072: 3072, RSA4096: 4096} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			key, err := algorithm.newKey()
			if err != nil {
				t.Fatal(err)
			}
			switch key := key.(type) {
			case *ecdsa.PrivateKey:
				if !strings.HasPrefix(string(algorithm), "ECDSA") || key.Curve.Params().BitSize != bits {
					t.Errorf("got an ECDSA key of %d bits", key.Curve.Params().BitSize)
				}
			case *rsa.PrivateKey:
				if !strings.HasPrefix(string(algorithm), "RSA") || key.N.BitLen() != bits {
					t.Errorf("got an RSA key of %d bits", key.N.BitLen())
				}
			default:
				t.Errorf("got a %T", key)
			}
		})
	}
}

func TestPKIOfEachKind(t *testing.T) {
	for _, algorithm := range []Algorithm{ECDSAP384, RSA2048} {
		t.Run(string(algorithm), func(t *testing.T) {
			o := options(t.TempDir())
			o.Algorithm = algorithm
			p := New(o)
			apply(t, p.All())
			for _, info := range p.Inspect() {
				if info.State != Fits {
					t.Errorf("%s %s", info.Path, info.Reason)
				}
			}
		})
	}
}

func TestUnknownAlgorithm(t *testing.T) {
	_, err := Algorithm("DSA").newKey()
	wantError(t, err, `no key algorithm is called "DSA"`, "ECDSA-P256")
}

func TestExternalEtcdNeedsNoCertificatesOfOurs(t *testing.T) {
	o := options(t.TempDir())
	o.ExternalEtcd = true
	p := New(o)
	apply(t, p.All())
	if _, err := os.Stat(filepath.Join(o.Dir, "etcd")); !os.IsNotExist(err) {
		t.Errorf("made a directory for etcd: %v", err)
	}
}

// Every path the tree names is one the PKI writes, and the other way round.
func TestTreeNamesEveryFile(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	tree, kubelet, conf := Tree(o.Dir), KubeletTree(o.KubeletDir), KubeconfigTree(o.KubernetesDir)
	want := []string{kubelet.Client, conf.Admin, conf.SuperAdmin, conf.Kubelet, conf.ControllerManager, conf.Scheduler}
	for _, pair := range []Pair{
		tree.CA, tree.APIServer, tree.APIServerKubeletClient, tree.FrontProxyCA, tree.FrontProxyClient,
		tree.EtcdCA, tree.EtcdServer, tree.EtcdPeer, tree.EtcdHealthcheckClient, tree.APIServerEtcdClient, tree.SA, kubelet.Serving,
	} {
		want = append(want, pair.Cert, pair.Key)
	}
	apply(t, New(o).All())
	var got []string
	for path := range files(t, dir) {
		got = append(got, path)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}
