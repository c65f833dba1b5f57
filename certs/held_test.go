package certs

import (
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
)

func placesOf(o Options) Places { return Places{o.Dir, o.KubernetesDir, o.KubeletDir} }

// hold looks at what there is, by name.
func hold(p Places) map[string]Held {
	all := map[string]Held{}
	for _, h := range Hold(p) {
		all[h.Name] = h
	}
	return all
}

func TestHold(t *testing.T) {
	p := build(t)
	var got []string
	for _, h := range Hold(placesOf(p.o)) {
		got = append(got, h.Name)
		if h.Err != nil || h.External || h.Lives() < year || h.Lives() > 10*year+time.Minute {
			t.Errorf("%+v", h)
		}
	}
	want := append([]string{"ca", "front-proxy-ca", "etcd-ca"}, Names()...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if held := Hold(Places{"/nowhere", "/nowhere", "/nowhere"}); held != nil {
		t.Errorf("of nothing: %v", held)
	}
}

// What is issued anew is the same but for its key and its time.
func TestHeldAreRenewed(t *testing.T) {
	p := build(t)
	for _, h := range Hold(placesOf(p.o)) {
		if h.CA == "" {
			continue
		}
		t.Run(h.Name, func(t *testing.T) {
			old := *h.Certificate
			if err := h.Renew(0, time.Now()); err != nil {
				t.Fatal(err)
			}
			h := hold(placesOf(p.o))[h.Name]
			got := h.Certificate
			if h.Err != nil || got.SerialNumber.Cmp(old.SerialNumber) == 0 || slices.Equal(got.RawSubjectPublicKeyInfo, old.RawSubjectPublicKeyInfo) {
				t.Errorf("%v: %v", h.Err, got.SerialNumber)
			}
			same := func(c *x509.Certificate) []any {
				return []any{c.Subject.String(), c.DNSNames, c.IPAddresses, c.KeyUsage, c.ExtKeyUsage, c.PublicKeyAlgorithm}
			}
			if diff := cmp.Diff(same(&old), same(got), cmp.Comparer(net.IP.Equal)); diff != "" {
				t.Error(diff)
			}
			if d := got.NotAfter.Sub(old.NotAfter); d < -time.Minute || d > 2*time.Minute {
				t.Errorf("lives until %s instead of %s", got.NotAfter, old.NotAfter)
			}
		})
	}
	// The table has nothing to say against what was issued.
	for _, it := range p.All() {
		if writes := plan(t, it); len(writes) > 0 {
			t.Errorf("%s: %s", it.Name, writes[0].Why)
		}
	}
}

func TestRenewKeepsTheRestOfAKubeconfig(t *testing.T) {
	p := build(t)
	path := KubeconfigTree(p.o.KubernetesDir).Admin
	conf, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	conf.Clusters[p.o.ClusterName].Server, conf.Contexts[conf.CurrentContext].Namespace = "https://elsewhere", "mine"
	if err := clientcmd.WriteToFile(*conf, path); err != nil {
		t.Fatal(err)
	}
	if err := hold(placesOf(p.o))["admin.conf"].Renew(time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
	conf, err = clientcmd.LoadFromFile(path)
	if err != nil || conf.Clusters[p.o.ClusterName].Server != "https://elsewhere" || conf.Contexts[conf.CurrentContext].Namespace != "mine" {
		t.Errorf("%v, %v", conf, err)
	}
	if left := hold(placesOf(p.o))["admin.conf"].Left(time.Now()); left > time.Hour || left < 59*time.Minute {
		t.Error(left)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Error(fi.Mode(), err)
	}
}

// The loop keeps a link there. What it leads to may be somebody's who still uses it.
func TestRenewReplacesTheLink(t *testing.T) {
	p := build(t)
	current := KubeletTree(p.o.KubeletDir).Client
	dated := filepath.Join(p.o.KubeletDir, "kubelet-client-2026-01-02-15-04-05.pem")
	move(t, current, dated)
	if err := os.Symlink(dated, current); err != nil {
		t.Fatal(err)
	}
	before := read(t, dated)
	if err := hold(placesOf(p.o))["kubelet.conf"].Renew(0, time.Now()); err != nil {
		t.Fatal(err)
	}
	if read(t, dated) != before || read(t, current) == before {
		t.Error("the link leads to what was renewed")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFind(t *testing.T) {
	p := build(t)
	remove(t, Tree(p.o.Dir).FrontProxyCA.Key)
	held := Hold(placesOf(p.o))
	for _, names := range [][]string{nil, {"all"}} {
		all, err := Find(held, names)
		if err != nil || len(all) != len(Names())-1 {
			t.Errorf("%d, %v", len(all), err)
		}
	}
	some, err := Find(held, []string{"front-proxy-client", "admin.conf"})
	if err != nil || len(some) != 2 || some[0].Name != "front-proxy-client" || !some[0].External {
		t.Error(some, err)
	}
	_, err = Find(held, []string{"admin.conf", "apiservr"})
	wantError(t, err, `no certificate is called "apiservr"`, "apiserver-kubelet-client")
	remove(t, KubeconfigTree(p.o.KubernetesDir).SuperAdmin)
	_, err = Find(Hold(placesOf(p.o)), []string{"super-admin.conf"})
	wantError(t, err, "this node has no certificate super-admin.conf", "boot certs check")
}

func TestNotRenewable(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(*testing.T, *PKI)
		err, do string
	}{
		"external":          {func(t *testing.T, p *PKI) { remove(t, Tree(p.o.Dir).CA.Key) }, "the key of its authority is not on this machine", "generate-csr"},
		"unreadable":        {func(t *testing.T, p *PKI) { write(t, Tree(p.o.Dir).APIServer.Cert, "nothing") }, "does not hold a certificate", "boot init"},
		"another authority": {func(t *testing.T, p *PKI) { move(t, Tree(p.o.Dir).EtcdCA.Key, Tree(p.o.Dir).CA.Key) }, "does not belong to", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := build(t)
			c.spoil(t, p)
			h := hold(placesOf(p.o))["apiserver"]
			err := h.Renew(0, time.Now())
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Fatal(err)
			}
			if c.do != "" {
				wantError(t, err, c.err, c.do)
			}
			if external := name == "external"; errors.Is(err, ErrExternal) != external || h.External != external {
				t.Errorf("external: %v", err)
			}
		})
	}
}

// A key whose certificate a power cut has kept is no reason to give up.
func TestRenewWithoutItsKey(t *testing.T) {
	p := build(t)
	tree := Tree(p.o.Dir)
	write(t, tree.APIServer.Key, read(t, tree.EtcdServer.Key))
	h := hold(placesOf(p.o))["apiserver"]
	if h.Err == nil || !strings.Contains(h.Err.Error(), "does not belong to its key") {
		t.Error(h.Err)
	}
	if err := h.Renew(0, time.Now()); err != nil {
		t.Fatal(err)
	}
	if h := hold(placesOf(p.o))["apiserver"]; h.Err != nil {
		t.Error(h.Err)
	}
}

// Nothing lives longer than its authority, and where that ends soon there is
// nothing to be had from renewing.
func TestGain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(t.TempDir())
		o.CAPeriod = 2 * year
		p := New(o)
		apply(t, p.All())
		h := hold(placesOf(o))["apiserver"]
		time.Sleep(year / 2)
		if gain := h.Gain(time.Now()); gain < year/2-time.Hour || gain > year/2+time.Hour {
			t.Error(gain)
		}
		time.Sleep(year)
		if err := h.Renew(0, time.Now()); err != nil {
			t.Fatal(err)
		}
		h, ca := hold(placesOf(o))["apiserver"], hold(placesOf(o))["ca"]
		if !h.Certificate.NotAfter.Equal(ca.Certificate.NotAfter) || h.Gain(time.Now()) != 0 {
			t.Errorf("until %s, authority until %s, gain %s", h.Certificate.NotAfter, ca.Certificate.NotAfter, h.Gain(time.Now()))
		}
		time.Sleep(year)
		if err := h.Renew(0, time.Now()); err == nil || !strings.Contains(err.Error(), "expired on") {
			t.Error(err)
		}
	})
}
