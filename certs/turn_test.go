package certs

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhomATurnTrusts(t *testing.T) {
	p := build(t)
	turn, _ := succeed(t, "ca", placesOf(p.o), time.Now())
	other := readCert(t, Tree(p.o.Dir).EtcdCA.Cert)
	named := map[string]*x509.Certificate{"old": turn.Old, "new": turn.New, "other": other}
	for _, c := range []struct{ trusted, both, first, only string }{
		{"old", "old new", "old", "new"},
		{"old new", "old new", "new old", "new"},
		{"new old", "new old", "new old", "new"},
		{"other old", "other old new", "other old", "new other"},
		{"old other new", "old other new", "new old other", "new other"},
		{"new", "new", "new", "new"},
		{"other", "other", "other", "other"}, // whoever trusts neither is none of our business
	} {
		var trusted []*x509.Certificate
		for name := range strings.FieldsSeq(c.trusted) {
			trusted = append(trusted, named[name])
		}
		for want, change := range map[string]Retrust{"both: " + c.both: turn.Both, "first: " + c.first: turn.NewFirst, "only: " + c.only: turn.OnlyNew} {
			what, _, _ := strings.Cut(want, ":")
			got := []string{what + ":"}
			for _, cert := range change(trusted) {
				for name, known := range named {
					if cert.Equal(known) {
						got = append(got, name)
					}
				}
			}
			if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
				t.Errorf("%s: %s", c.trusted, diff)
			}
		}
	}
}

// Everything that names the authority is rewritten, and nothing else in it changes.
func TestTrusting(t *testing.T) {
	p := build(t)
	places := placesOf(p.o)
	turn, _ := succeed(t, "ca", places, time.Now())
	before := map[string]access{}
	var names []string
	for _, file := range places.Trusting() {
		if file.CA != "ca" {
			continue
		}
		names = append(names, strings.TrimPrefix(file.Path, p.o.KubernetesDir+"/"))
		if !file.Bundle {
			before[file.Path] = readConf(t, file.Path)
		}
		w, err := file.Plan(turn.Both)
		if err != nil || w == nil {
			t.Fatalf("%s: %v, %v", file.Path, w, err)
		}
		do(t, []Write{*w}, nil)
		if w, err := file.Plan(turn.Both); err != nil || w != nil {
			t.Errorf("%s is still to be written: %v", file.Path, err)
		}
		if w, err := file.Plan(func(all []*x509.Certificate) []*x509.Certificate {
			if len(all) != 2 {
				t.Errorf("%s trusts %d authorities", file.Path, len(all))
			}
			return all
		}); err != nil || w != nil {
			t.Errorf("%s: %v, %v", file.Path, w, err)
		}
	}
	want := []string{"pki/ca.crt", "kubelet.conf", "admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	for path, had := range before {
		has := readConf(t, path)
		if has.server != had.server || has.name != had.name || !has.user.chain[0].Equal(had.user.chain[0]) || !has.user.matched() {
			t.Errorf("%s: %+v", path, has)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, fi.Mode(), err)
		}
	}
	for _, it := range p.All() {
		if status, err := it.Look(); err != nil || status.State != Fits {
			t.Errorf("%s: %v, %v", it.Name, status, err)
		}
	}
}

func readConf(t *testing.T, path string) access {
	t.Helper()
	a, err := readAccess(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Only what belongs together is taken for a turn, and only its key for its key.
func TestTurnsThatAreNone(t *testing.T) {
	p := build(t)
	places := placesOf(p.o)
	turn, key := succeed(t, "ca", places, time.Now())
	other, otherKey := succeed(t, "ca", places, time.Now())
	etcd, _ := succeed(t, "etcd-ca", places, time.Now())
	text := func(c *x509.Certificate) []byte { return certPEM(c.Raw) }
	for says, c := range map[string][3][]byte{
		"does not hold a certificate":                       {text(turn.Old), []byte("garbage"), text(turn.Cross)},
		"the cross certificate is of another authority":     {text(turn.Old), text(turn.New), text(other.Cross)},
		"the cross certificate of ca is not of the old one": {text(etcd.Old), text(turn.New), text(turn.Cross)},
	} {
		if _, err := ParseTurn("ca", c[0], c[1], c[2]); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		}
	}
	for says, key := range map[string][]byte{
		"does not hold a private key":        nil,
		"does not belong to its certificate": otherKey,
	} {
		if _, err := turn.PlanKey(places, key, time.Now()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		}
	}
	writes, err := turn.PlanKey(places, key, time.Now())
	do(t, writes, err)
	if again, err := turn.PlanKey(places, nil, time.Now()); err != nil || len(again) != 0 {
		t.Errorf("with the key in place: %v, %v", again, err)
	}
}
