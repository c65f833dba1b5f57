package certs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A run may end between any two writes. The next one finishes its work, and
// whatever authority the first made stays.
func TestKilledAfterAnyWrite(t *testing.T) {
	total := len(apply(t, New(options(t.TempDir())).All()))
	for n := range total {
		dir := t.TempDir()
		p := New(options(dir))
		applySome(t, p.All(), n)
		before := files(t, dir)
		if len(before) != n {
			t.Fatalf("%d files after %d writes", len(before), n)
		}
		if wrote := apply(t, p.All()); len(wrote) != total-n {
			t.Errorf("after %d writes wrote %v", n, wrote)
		}
		after := files(t, dir)
		for path, content := range before {
			if after[path] != content {
				t.Errorf("after %d writes %s was replaced", n, path)
			}
		}
		fits(t, p)
	}
}

// So may a run that renews everything: here it gets new names to serve.
func TestKilledWhileRenewing(t *testing.T) {
	const renewing = 2*8 + 5
	for n := range renewing {
		p := build(t)
		before := files(t, p.o.Dir)
		o := p.o
		o.NodeName, o.AdvertiseAddress, o.Period = "node-2", "192.0.2.11", year/2
		o.APIServerSANs, o.LocalEndpoint, o.ControlPlaneEndpoint = []string{"new.example"}, "https://192.0.2.11:6443", "https://new.example"
		p = New(o)
		applySome(t, p.All(), n)
		apply(t, p.All())
		fits(t, p)
		after := files(t, p.o.Dir)
		for _, ca := range []Pair{Tree(o.Dir).CA, Tree(o.Dir).EtcdCA, Tree(o.Dir).FrontProxyCA, Tree(o.Dir).SA} {
			if before[ca.Key] != after[ca.Key] || before[ca.Cert] != after[ca.Cert] {
				t.Errorf("after %d writes %s was replaced", n, ca.Key)
			}
		}
	}
}

// applySome makes the first n writes.
func applySome(t *testing.T, items []Item, n int) {
	t.Helper()
	for _, it := range items {
		for _, w := range plan(t, it) {
			if n == 0 {
				return
			}
			if err := w.Do(); err != nil {
				t.Fatal(err)
			}
			n--
		}
	}
}

func fits(t *testing.T, p *PKI) {
	t.Helper()
	for _, it := range p.All() {
		if status, err := it.Look(); err != nil || status.State != Fits {
			t.Errorf("%s %v, %v", it.Path, status, err)
		}
	}
}

// What cannot be made again is never written over.
func TestAnAuthorityThatIsBrokenIsAnError(t *testing.T) {
	for _, tt := range []struct {
		name   string
		spoil  func(*testing.T, Options)
		item   string
		text   string
		advice string
	}{
		{
			"certificate garbage", func(t *testing.T, o Options) { write(t, Tree(o.Dir).CA.Cert, "garbage") },
			"certs/ca", "pki/ca.crt does not hold a certificate", "restore it from a backup",
		},
		{
			"seen from a certificate it signs", func(t *testing.T, o Options) { write(t, Tree(o.Dir).CA.Cert, "garbage") },
			"certs/apiserver", "pki/ca.crt does not hold a certificate", "restore it from a backup",
		},
		{
			"seen from a kubeconfig", func(t *testing.T, o Options) { write(t, Tree(o.Dir).CA.Cert, "garbage") },
			"kubeconfig/admin", "pki/ca.crt does not hold a certificate", "restore it from a backup",
		},
		{
			"key garbage", func(t *testing.T, o Options) { write(t, Tree(o.Dir).EtcdCA.Key, "SECRET") },
			"certs/etcd-ca", "etcd/ca.key does not hold a private key", "restore it from a backup",
		},
		{
			"key of another", func(t *testing.T, o Options) { move(t, Tree(o.Dir).EtcdCA.Key, Tree(o.Dir).CA.Key) },
			"certs/ca", "pki/ca.crt does not belong to", "restore the one that was replaced",
		},
		{
			"no authority", func(t *testing.T, o Options) {
				move(t, Tree(o.Dir).APIServer.Cert, Tree(o.Dir).CA.Cert)
				move(t, Tree(o.Dir).APIServer.Key, Tree(o.Dir).CA.Key)
			},
			"certs/ca", "ca.crt is not a certificate authority", "the CA's own certificate",
		},
		{
			"service account key lost", func(t *testing.T, o Options) { remove(t, Tree(o.Dir).SA.Key) },
			"certs/sa", "sa.pub is there, but", "restore the key",
		},
		{
			"service account key garbage", func(t *testing.T, o Options) { write(t, Tree(o.Dir).SA.Key, "SECRET") },
			"certs/sa", "sa.key does not hold a private key", "restore",
		},
		{
			"service account keys do not match", func(t *testing.T, o Options) { write(t, Tree(o.Dir).SA.Cert, "garbage") },
			"certs/sa", "sa.pub does not hold the public key of", "remove",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := build(t)
			tt.spoil(t, p.o)
			before := files(t, p.o.Dir)
			_, err := find(t, p.All(), tt.item).Plan()
			wantError(t, err, tt.text, tt.advice)
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("the error quotes the key: %v", err)
			}
			if diff := cmp.Diff(before, files(t, p.o.Dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnreadableFilesAreNotWrittenOver(t *testing.T) {
	p := build(t)
	for _, path := range []string{Tree(p.o.Dir).APIServer.Cert, Tree(p.o.Dir).CA.Key} {
		remove(t, path)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"certs/apiserver", "certs/ca", "certs/apiserver-kubelet-client"} {
		if _, err := find(t, p.All(), name).Plan(); err == nil || !strings.Contains(err.Error(), "is a directory") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServiceAccountKeyWithoutItsPublicHalf(t *testing.T) {
	p := build(t)
	files := Tree(p.o.Dir).SA
	want, err := os.ReadFile(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, files.Cert)
	if wrote := apply(t, p.All()); len(wrote) != 1 || wrote[0] != "sa.pub" {
		t.Fatalf("wrote %v", wrote)
	}
	if got, err := os.ReadFile(files.Cert); err != nil || string(got) != string(want) {
		t.Fatalf("holds %s, %v", got, err)
	}
}

// While keys are rotated the file holds the old public key beside the new one.
func TestServiceAccountKeysBeingRotated(t *testing.T) {
	p, other := build(t), build(t)
	var both []byte
	for _, o := range []Options{other.o, p.o} {
		data, err := os.ReadFile(Tree(o.Dir).SA.Cert)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, data...)
	}
	write(t, Tree(p.o.Dir).SA.Cert, string(both))
	if wrote := apply(t, p.All()); len(wrote) > 0 {
		t.Fatalf("wrote %v", wrote)
	}
}

func TestExternalCA(t *testing.T) {
	external := func(t *testing.T) *PKI {
		p := build(t)
		for _, ca := range []Pair{Tree(p.o.Dir).CA, Tree(p.o.Dir).EtcdCA, Tree(p.o.Dir).FrontProxyCA} {
			remove(t, ca.Key)
		}
		return p
	}
	t.Run("what fits is left alone", func(t *testing.T) {
		p := external(t)
		if wrote := apply(t, p.All()); len(wrote) > 0 {
			t.Fatalf("wrote %v", wrote)
		}
		fits(t, p)
	})
	t.Run("the kubelet makes do without a certificate of its own", func(t *testing.T) {
		p := external(t)
		remove(t, KubeletTree(p.o.KubeletDir).Serving.Cert)
		if wrote := apply(t, p.All()); len(wrote) > 0 {
			t.Fatalf("wrote %v", wrote)
		}
		p.o.NodeName = "node-2"
		write(t, KubeletTree(p.o.KubeletDir).Serving.Cert, "garbage")
		_, err := find(t, p.All(), "certs/kubelet").Plan()
		wantError(t, err, "kubelet.crt does not hold a certificate", "CN=system:node:node-2")
	})
	for _, tt := range []struct {
		name   string
		item   string
		spoil  func(*testing.T, *PKI)
		text   string
		advice string
	}{
		{
			"certificate missing", "certs/apiserver",
			func(t *testing.T, p *PKI) { remove(t, Tree(p.o.Dir).APIServer.Cert) },
			"apiserver.crt is missing, and the CA's key", "with the subject CN=kube-apiserver, good for server auth, naming node-1, kubernetes",
		},
		{
			"certificate of another node", "certs/etcd-server",
			func(_ *testing.T, p *PKI) { p.o.NodeName = "node-2" },
			"server.crt has the subject CN=node-1 instead of CN=node-2", "CN=node-2, good for server auth and client auth",
		},
		{
			"kubeconfig missing", "kubeconfig/scheduler",
			func(t *testing.T, p *PKI) { remove(t, KubeconfigTree(p.o.KubernetesDir).Scheduler) },
			"scheduler.conf is missing, and the CA's key", "CN=system:kube-scheduler",
		},
		{
			"kubeconfig points elsewhere", "kubeconfig/admin",
			func(_ *testing.T, p *PKI) { p.o.ControlPlaneEndpoint = "https://other:6443" },
			"points at https://api.example:6443 instead of https://other:6443", "CN=kubernetes-admin,O=kubeadm:cluster-admins",
		},
		{
			"service account keys missing", "certs/sa",
			func(t *testing.T, p *PKI) { remove(t, Tree(p.o.Dir).SA.Key); remove(t, Tree(p.o.Dir).SA.Cert) },
			"are missing, and the CA's key", "put the cluster's service account keys there",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := external(t)
			tt.spoil(t, p)
			_, err := find(t, p.All(), tt.item).Plan()
			wantError(t, err, tt.text, tt.advice)
		})
	}
}

// An external CA may sign through an intermediate that comes with the leaf.
func TestExternalCAWithAnIntermediate(t *testing.T) {
	p := build(t)
	tree := Tree(p.o.Dir)
	root, err := authority{p.o, clusterCA(p.o)}.signer()
	if err != nil {
		t.Fatal(err)
	}
	middle := intermediate(t, root)
	it := find(t, p.All(), "certs/apiserver").item.(leaf)
	key, err := readKey(it.files.Key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := middle.sign(it.row, key, year)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, tree.CA.Key)

	write(t, it.files.Cert, string(data))
	_, err = find(t, p.All(), "certs/apiserver").Plan()
	wantError(t, err, `is not signed by the CA "kubernetes" in use`, "have it signed")

	write(t, it.files.Cert, string(data)+encode(middle.cert))
	if wrote := apply(t, p.All()); len(wrote) > 0 {
		t.Fatalf("wrote %v", wrote)
	}
}

func TestKeysAreNotReadableByOthers(t *testing.T) {
	p := build(t)
	for path := range files(t, filepath.Dir(p.o.KubernetesDir)) {
		switch filepath.Ext(path) {
		case ".key", ".conf", ".pem":
			checkMode(t, path, 0o600)
		}
	}
}
