package certs

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// applyRequests makes what is planned and returns the files written.
func applyRequests(t *testing.T, p *PKI) []string {
	t.Helper()
	var wrote []string
	for _, q := range p.Requests() {
		writes, err := q.Plan()
		if err != nil {
			t.Fatalf("%s: %v", q.Name, err)
		}
		for _, w := range writes {
			if err := w.Do(); err != nil {
				t.Fatalf("%s: write %s: %v", q.Name, w.Path, err)
			}
			wrote = append(wrote, strings.TrimPrefix(w.Path, p.o.KubernetesDir))
		}
		if left, err := q.Plan(); err != nil || len(left) > 0 {
			t.Fatalf("%s: %d left, %v", q.Name, len(left), err)
		}
	}
	return wrote
}

func readRequest(t *testing.T, path string) *x509.CertificateRequest {
	t.Helper()
	block, _ := pem.Decode([]byte(read(t, path)))
	if block == nil {
		t.Fatalf("%s holds no PEM", path)
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Before there is anything, keys and requests for all of it are made.
func TestRequests(t *testing.T) {
	o := options(t.TempDir())
	p := New(o)
	wrote := applyRequests(t, p)
	for _, path := range []string{"/pki/apiserver.key", "/pki/apiserver.csr", "/pki/etcd/peer.csr", "/admin.conf", "/admin.conf.csr"} {
		if !slices.Contains(wrote, path) {
			t.Errorf("%s is not among %q", path, wrote)
		}
	}
	if again := applyRequests(t, p); again != nil {
		t.Errorf("again: %q", again)
	}
	r := readRequest(t, o.Dir+"/apiserver.csr")
	names := slices.Clone(r.DNSNames)
	for _, ip := range r.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	want := apiServerHosts(o)
	slices.Sort(want)
	if diff := cmp.Diff(want, names, cmp.Comparer(net.IP.Equal)); diff != "" || r.Subject.CommonName != "kube-apiserver" {
		t.Errorf("%s: %s", r.Subject, diff)
	}
	if r := readRequest(t, o.KubernetesDir+"/admin.conf.csr"); r.Subject.String() != "CN=kubernetes-admin,O=kubeadm:cluster-admins" {
		t.Error(r.Subject)
	}
}

// On a node that runs, what is used stays, and only requests are written.
func TestRequestsOfWhatThereIs(t *testing.T) {
	p := build(t)
	before := files(t, p.o.KubernetesDir)
	for _, path := range applyRequests(t, p) {
		if !strings.HasSuffix(path, ".csr") {
			t.Errorf("%s is written", path)
		}
	}
	after := files(t, p.o.KubernetesDir)
	for path, content := range before {
		if after[path] != content {
			t.Errorf("%s changed", path)
		}
	}
	key, err := readKey(Tree(p.o.Dir).APIServer.Key)
	if err != nil || !belong(readRequest(t, p.o.Dir+"/apiserver.csr").PublicKey, key) {
		t.Error("the request is for another key", err)
	}
}
