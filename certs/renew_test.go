package certs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Each row makes one thing not fit and says which item notices, in which words,
// and what is written for it.
func TestWhatNoLongerFitsIsMadeAnew(t *testing.T) {
	// reissue replaces an item's certificate by one of a row changed by edit.
	reissue := func(edit func(*row)) func(*testing.T, *PKI, Item) {
		return func(t *testing.T, _ *PKI, it Item) {
			l := it.item.(leaf)
			edit(&l.row)
			if err := l.sign(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name  string
		item  string
		spoil func(*testing.T, *PKI, Item)
		why   string
		wrote string
	}{
		{"a name is missing", "apiserver", reissue(func(r *row) { r.hosts = r.hosts[1:] }), "it does not name node-1", "apiserver.key apiserver.crt"},
		{"an address is missing", "etcd-peer", reissue(func(r *row) { r.hosts = []string{"node-1", "localhost", "127.0.0.1", "::1", "peer.example"} }), "it does not name 192.0.2.10", "peer.key peer.crt"},
		{"a usage is missing", "etcd-server", reissue(func(r *row) { r.usages = []string{client} }), "it is not good for server auth", "server.key server.crt"},
		{"the common name is another", "etcd-server", reissue(func(r *row) { r.cn = "node-2" }), "it has the subject CN=node-2 instead of CN=node-1", "server.key server.crt"},
		{
			"the organisation is too mighty", "apiserver-kubelet-client", reissue(func(r *row) { r.org = "system:masters" }),
			"it has the subject CN=kube-apiserver-kubelet-client,O=system:masters instead of CN=kube-apiserver-kubelet-client",
			"apiserver-kubelet-client.key apiserver-kubelet-client.crt",
		},
		{
			"another CA signed it", "front-proxy-client",
			func(t *testing.T, p *PKI, it Item) {
				l := it.item.(leaf)
				l.authority = authority{p.o, clusterCA(p.o)}
				if err := l.sign(); err != nil {
					t.Fatal(err)
				}
			},
			`it is not signed by the CA "front-proxy-ca" in use`, "front-proxy-client.key front-proxy-client.crt",
		},
		{
			"the key is another", "apiserver",
			func(t *testing.T, _ *PKI, it Item) {
				if err := keyWrite(ECDSAP256, it.item.(leaf).files.Key, "").Do(); err != nil {
					t.Fatal(err)
				}
			},
			"it does not belong to its key", "apiserver.crt",
		},
		{
			"the key is lost", "apiserver",
			func(t *testing.T, _ *PKI, it Item) { remove(t, it.item.(leaf).files.Key) },
			"it has lost its key", "apiserver.key apiserver.crt",
		},
		{
			"the key is garbage", "kubelet",
			func(t *testing.T, _ *PKI, it Item) { write(t, it.item.(leaf).files.Key, "garbage") },
			"it has a key that cannot be read", "kubelet.key kubelet.crt",
		},
		{
			"the certificate is lost", "kubelet",
			func(t *testing.T, _ *PKI, it Item) { remove(t, it.Path) }, "", "kubelet.crt",
		},
		{
			"the certificate is cut short", "kubelet",
			func(t *testing.T, _ *PKI, it Item) {
				if err := os.Truncate(it.Path, 100); err != nil {
					t.Fatal(err)
				}
			},
			"it does not hold a certificate", "kubelet.crt",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := build(t)
			it := find(t, p.All(), "certs/"+tt.item)
			tt.spoil(t, p, it)
			writes := plan(t, it)
			if len(writes) == 0 {
				t.Fatal("nothing is planned")
			}
			if got := writes[len(writes)-1].Why; got != tt.why {
				t.Errorf("why: %q, want %q", got, tt.why)
			}
			if diff := cmp.Diff(tt.wrote, strings.Join(apply(t, p.All()), " ")); diff != "" {
				t.Errorf("wrote: %s", diff)
			}
		})
	}
}

// An address that changes is in more than one certificate and kubeconfig.
func TestANewAddressRenewsExactlyWhatNamesIt(t *testing.T) {
	p := build(t)
	o := p.o
	o.AdvertiseAddress = "192.0.2.11"
	o.LocalEndpoint = "https://192.0.2.11:6443"
	want := []string{
		"server.key", "server.crt", "peer.key", "peer.crt",
		"apiserver.key", "apiserver.crt", "kubelet.key", "kubelet.crt",
		"controller-manager.conf", "scheduler.conf",
	}
	if diff := cmp.Diff(want, apply(t, New(o).All())); diff != "" {
		t.Fatal(diff)
	}
}

func TestMoreNamesThanWantedFit(t *testing.T) {
	p := build(t)
	o := p.o
	o.APIServerSANs = nil
	if wrote := apply(t, New(o).All()); len(wrote) > 0 {
		t.Fatalf("wrote %v", wrote)
	}
}

func TestLifeRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := build(t)
		quiet := func(when string) {
			t.Helper()
			for _, it := range p.All() {
				if writes := plan(t, it); len(writes) > 0 {
					t.Errorf("%s: %s is written", when, writes[0].Path)
				}
			}
		}
		state := func(name string) Status {
			t.Helper()
			status, err := find(t, p.All(), name).Look()
			if err != nil {
				t.Fatal(err)
			}
			return status
		}

		time.Sleep(year*2/3 - time.Hour)
		quiet("before the last third")
		if s := state("certs/apiserver"); s.State != Fits {
			t.Errorf("before the last third: %v", s)
		}

		time.Sleep(2 * time.Hour)
		quiet("in the last third, which is only reported")
		for _, name := range []string{"certs/apiserver", "kubeconfig/admin", "kubeconfig/kubelet"} {
			if s := state(name); s.State != Expiring || !strings.Contains(s.Reason, "expires on 2000-12-31, in 121 days") {
				t.Errorf("%s: %v", name, s)
			}
		}
		if s := state("certs/ca"); s.State != Fits {
			t.Errorf("ca: %v", s)
		}

		time.Sleep(year / 3)
		writes := plan(t, find(t, p.All(), "certs/apiserver"))
		if len(writes) != 2 || writes[1].Why != "it expired on 2000-12-31" {
			t.Errorf("after a year: %v", writes)
		}
		ca := readCert(t, Tree(p.o.Dir).CA.Cert)
		if wrote := apply(t, p.All()); len(wrote) != 2*8+5 {
			t.Errorf("after a year wrote %v", wrote)
		}
		if !ca.Equal(readCert(t, Tree(p.o.Dir).CA.Cert)) {
			t.Error("the CA was replaced")
		}

		time.Sleep(9 * year)
		_, err := find(t, p.All(), "certs/apiserver").Plan()
		wantError(t, err, "ca.crt expired on 2009-12-29", "clock")
	})
}

func TestClockBehind(t *testing.T) {
	// Made now, looked at in synctest's year 2000.
	p := build(t)
	synctest.Test(t, func(t *testing.T) {
		_, err := find(t, p.All(), "certs/apiserver").Plan()
		wantError(t, err, "ca.crt is not valid before", "clock")
	})
}

// Nothing outlives the CA that vouches for it.
func TestNoLongerThanTheCA(t *testing.T) {
	o := options(t.TempDir())
	o.CAPeriod = 30 * 24 * time.Hour
	apply(t, New(o).All())
	ca := readCert(t, Tree(o.Dir).CA.Cert)
	leaf := readCert(t, Tree(o.Dir).APIServer.Cert)
	if !leaf.NotAfter.Equal(ca.NotAfter) {
		t.Errorf("the certificate ends %s, its CA %s", leaf.NotAfter, ca.NotAfter)
	}
}

func TestInspect(t *testing.T) {
	p := build(t)
	tree := Tree(p.o.Dir)
	remove(t, tree.EtcdPeer.Cert)
	write(t, tree.FrontProxyCA.Cert, "garbage")
	byName := map[string][]Info{}
	for _, info := range p.Inspect() {
		byName[filepath.Base(info.Path)] = append(byName[filepath.Base(info.Path)], info)
	}
	for _, tt := range []struct {
		file string
		want Info
	}{
		{"apiserver.crt", Info{Name: "certs/apiserver", Subject: "CN=kube-apiserver", Issuer: "CN=kubernetes", State: Fits}},
		{"kubelet.conf", Info{Name: "kubeconfig/kubelet", Subject: "CN=system:node:node-1,O=system:nodes", Issuer: "CN=kubernetes", State: Fits}},
		{"peer.crt", Info{Name: "certs/etcd-peer", State: Missing, Reason: "is missing"}},
		{"front-proxy-ca.crt", Info{Name: "certs/front-proxy-ca", State: Unfit, Reason: tree.FrontProxyCA.Cert + " does not hold a certificate"}},
	} {
		infos := byName[tt.file]
		if len(infos) != 1 {
			t.Fatalf("%s: %d infos", tt.file, len(infos))
		}
		got := infos[0]
		if tt.want.State == Fits && got.NotAfter.Before(time.Now().Add(364*24*time.Hour)) {
			t.Errorf("%s: ends %s", tt.file, got.NotAfter)
		}
		if tt.want.Name == "certs/apiserver" && len(got.SANs) != 10 {
			t.Errorf("%s: names %v", tt.file, got.SANs)
		}
		got.Path, got.SANs, got.NotAfter = "", nil, time.Time{}
		if !strings.HasPrefix(got.Reason, tt.want.Reason) {
			t.Errorf("%s: reason %q", tt.file, got.Reason)
		}
		got.Reason = tt.want.Reason
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.file, diff)
		}
	}
	if got := len(p.Inspect()); got != 11+5 {
		t.Errorf("lists %d certificates", got)
	}
}
