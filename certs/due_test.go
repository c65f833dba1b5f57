package certs

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Each certificate has its time, and it takes a sleep of any length to miss it no
// more than that.
func TestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(t.TempDir())
		o.CAPeriod = 10 * year
		apply(t, New(o).All())
		begin := time.Now()
		left := func(name string) (time.Duration, bool) {
			h := hold(placesOf(o))[name]
			due, ok := h.Due("n1", time.Now())
			return h.Certificate.NotAfter.Sub(due).Round(time.Hour), ok
		}
		for _, name := range []string{"ca", "apiserver"} {
			if _, ok := left(name); ok { // just made: there is nothing to gain
				t.Errorf("%s is due", name)
			}
		}
		time.Sleep(year / 2)
		for name, want := range map[string]time.Duration{
			"apiserver": year/3 - time.Duration(share("n1")*float64(year)/30), "admin.conf": year/3 - time.Duration(share("n1")*float64(year)/30),
			"kubelet.conf": year / 10,
		} {
			if got, ok := left(name); !ok || got-want > time.Hour || want-got > time.Hour {
				t.Errorf("%s is due with %s left, want %s", name, got, want)
			}
		}
		if _, ok := left("ca"); ok {
			t.Error("an authority is due")
		}
		time.Sleep(year)
		h := hold(placesOf(o))["apiserver"]
		if due, ok := h.Due("n1", time.Now()); !ok || due.After(time.Now()) || due.Before(begin) || !h.Soon(time.Now()) {
			t.Errorf("after a long sleep: %v %v", due, ok)
		}
	})
}

func TestNodesTakeTheirTime(t *testing.T) {
	seen := map[string]bool{}
	for i := range 5 {
		s := share(fmt.Sprint("node-", i))
		if s < 0 || s >= 1 {
			t.Error(s)
		}
		seen[fmt.Sprintf("%.3f", s)] = true
	}
	if len(seen) != 5 {
		t.Error(seen)
	}
}

func TestABrokenPairIsDue(t *testing.T) {
	p := build(t)
	tree := Tree(p.o.Dir)
	write(t, tree.APIServer.Key, read(t, tree.EtcdServer.Key))
	now := time.Now()
	if due, ok := hold(placesOf(p.o))["apiserver"].Due("n1", now); !ok || due.After(now) {
		t.Error(due, ok)
	}
}

func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(t.TempDir())
		o.CAPeriod = 2 * year
		apply(t, New(o).All())
		remove(t, Tree(o.Dir).FrontProxyCA.Key)
		trouble := func() map[string]string {
			all := map[string]string{}
			for _, h := range Hold(placesOf(o)) {
				if text := h.Trouble(time.Now()); text != "" {
					all[h.Name] = text
				}
			}
			return all
		}
		if got := trouble(); len(got) > 0 {
			t.Error(got)
		}
		time.Sleep(year * 3 / 4)
		if got := trouble(); len(got) != 1 || !strings.Contains(got["front-proxy-client"], "the key of its authority is not on this machine") {
			t.Error(got)
		}
		time.Sleep(year * 12 / 10)
		if got := trouble(); !strings.HasPrefix(got["etcd-ca"], "the authority etcd-ca ends on ") || got["front-proxy-ca"] != "" {
			t.Error(got)
		}
		if _, ok := hold(placesOf(o))["apiserver"].Due("n1", time.Now()); !ok {
			t.Error("there is a tenth of a year to gain")
		}
		remove(t, Tree(o.Dir).CA.Key)
		if got := trouble(); !strings.Contains(got["kubelet.conf"], "the cluster has signed no other") {
			t.Error(got)
		}
		write(t, Tree(o.Dir).APIServer.Cert, "nothing")
		if got := trouble(); !strings.Contains(got["apiserver"], "does not hold a certificate") {
			t.Error(got)
		}
	})
}
