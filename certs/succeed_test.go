package certs

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// succeed makes a successor of an authority and reads it.
func succeed(t *testing.T, name string, p Places, now time.Time) (Turn, []byte) {
	t.Helper()
	s, err := Succeed(Turn{Name: name}.Files(p), now)
	if err != nil {
		t.Fatal(err)
	}
	turn, err := ParseTurn(name, s.Old, s.New, s.Cross)
	if err != nil {
		t.Fatal(err)
	}
	return turn, s.Key
}

// do makes planned writes.
func do(t *testing.T, writes []Write, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writes {
		if err := w.Do(); err != nil {
			t.Fatalf("write %s: %v", w.Path, err)
		}
	}
}

// take has a successor sign, and nobody but it be trusted.
func take(t *testing.T, p Places, turn Turn, key []byte) {
	t.Helper()
	writes, err := turn.PlanKey(p, key, time.Now())
	do(t, writes, err)
	for _, file := range p.Trusting() {
		if file.CA == turn.Name {
			if w, err := file.Plan(turn.OnlyNew); err != nil || w == nil || w.Do() != nil {
				t.Fatalf("%s: %v, %v", file.Path, w, err)
			}
		}
	}
}

// trusts says whether who trusts one authority alone believes the certificate that
// lies at a path, shown with all that follows it.
func trusts(t *testing.T, root *x509.Certificate, path string) bool {
	t.Helper()
	chain, err := readCerts(path)
	if err != nil {
		t.Fatal(err)
	}
	return signed(chain, []*x509.Certificate{root}, time.Now())
}

func TestSuccessor(t *testing.T) {
	for _, algorithm := range []Algorithm{ECDSAP256, ECDSAP384, RSA2048} {
		t.Run(string(algorithm), func(t *testing.T) {
			o := options(t.TempDir())
			o.Algorithm = algorithm
			apply(t, New(o).EtcdCerts()[:1])
			turn, _ := succeed(t, "etcd-ca", placesOf(o), time.Now())
			before, after := turn.Old, turn.New
			if after.Subject.String() != before.Subject.String() || after.PublicKeyAlgorithm != before.PublicKeyAlgorithm || !after.IsCA {
				t.Errorf("%s, %s", after.Subject, after.PublicKeyAlgorithm)
			}
			if after.SerialNumber.Cmp(before.SerialNumber) == 0 || string(after.SubjectKeyId) == string(before.SubjectKeyId) {
				t.Error("they cannot be told apart")
			}
			if err := after.CheckSignatureFrom(after); err != nil {
				t.Error(err)
			}
			if string(turn.Cross.AuthorityKeyId) != string(before.SubjectKeyId) || turn.Cross.NotAfter.After(before.NotAfter) {
				t.Errorf("signed by %x until %s", turn.Cross.AuthorityKeyId, turn.Cross.NotAfter)
			}
			if life, want := time.Until(after.NotAfter), 10*year; life < want-time.Hour || life > want+time.Hour {
				t.Errorf("it lives %s", life)
			}
		})
	}
}

// Whoever trusts the old authority alone, or the new one alone, believes what is
// signed by the new one, and also what the one after that signs.
func TestWhatASuccessorSignsIsBelieved(t *testing.T) {
	p := build(t)
	places, serving := placesOf(p.o), Tree(p.o.Dir).APIServer.Cert
	roots := []*x509.Certificate{readCert(t, Tree(p.o.Dir).CA.Cert)}
	for range 2 {
		turn, key := succeed(t, "ca", places, time.Now())
		take(t, places, turn, key)
		roots = append(roots, turn.New)
		held, err := Find(Hold(places), []string{"apiserver", "admin.conf"})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range held {
			if err := h.Renew(0, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		for i, root := range roots {
			if !trusts(t, root, serving) {
				t.Errorf("authority %d of %d is not enough", i+1, len(roots))
			}
		}
		access, err := readAccess(KubeconfigTree(p.o.KubernetesDir).Admin)
		if err != nil || !signed(access.user.chain, roots[:1], time.Now()) {
			t.Errorf("admin.conf: %v", err)
		}
	}
	// What is made by the table is no less than what is renewed.
	if err := find(t, p.All(), "certs/apiserver").item.(leaf).sign(); err != nil {
		t.Fatal(err)
	}
	for i, root := range roots {
		if !trusts(t, root, serving) {
			t.Errorf("made anew, authority %d is not enough", i+1)
		}
	}
	if other := New(options(t.TempDir())); apply(t, other.EtcdCerts()[:1]) == nil || trusts(t, readCert(t, Tree(other.o.Dir).EtcdCA.Cert), serving) {
		t.Error("a stranger believes it")
	}
}

// What vouches for an authority no longer, or for another one, is not shown.
func TestOnlyWhatVouchesIsShown(t *testing.T) {
	p := build(t)
	places, files := placesOf(p.o), Tree(p.o.Dir).CA
	first, _ := succeed(t, "ca", places, time.Now())
	other, _ := succeed(t, "ca", places, time.Now())
	all := []*x509.Certificate{other.Cross, first.Cross}
	if got := vouching(first.New, all, time.Now()); len(got) != 1 || !got[0].Equal(first.Cross) {
		t.Errorf("%d shown", len(got))
	}
	if got := vouching(first.New, all, first.Cross.NotAfter.Add(time.Second)); len(got) != 0 {
		t.Errorf("%d shown after the end", len(got))
	}
	if got := crossOf(files, first.New, time.Now()); got != nil {
		t.Error("something comes out of nothing")
	}
	write(t, files.CrossPath(), "garbage")
	if got := crossOf(files, first.New, time.Now()); got != nil {
		t.Error("garbage is shown")
	}
}

func TestWhoCannotSucceed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*testing.T, Pair)
		says  string
		hints bool
	}{
		"the key is elsewhere": {func(t *testing.T, f Pair) { remove(t, f.Key) }, "the key of its authority is not on this machine", true},
		"the key is garbage":   {func(t *testing.T, f Pair) { write(t, f.Key, "garbage") }, "does not hold a private key", false},
		"it is of another": {func(t *testing.T, f Pair) {
			do(t, []Write{keyWrite(ECDSAP256, f.Key, "")}, nil)
		}, "does not belong to", false},
		"nothing may be beneath it": {func(t *testing.T, f Pair) {
			key, err := readKey(f.Key)
			if err != nil {
				t.Fatal(err)
			}
			s := signing{cert: readCert(t, f.Cert), key: key}
			s.cert.MaxPathLen, s.cert.MaxPathLenZero = 0, true
			again, err := s.succession(key, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			write(t, f.Cert, string(again.New))
		}, "it cannot vouch for its successor", true},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t.TempDir())
			apply(t, New(o).EtcdCerts()[:1])
			files := Tree(o.Dir).EtcdCA
			c.spoil(t, files)
			_, err := Succeed(files, time.Now())
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v, want %q", err, c.says)
			}
			var h interface{ Hint() string }
			if errors.As(err, &h) != c.hints {
				t.Errorf("hint: %v", h)
			}
		})
	}
}

// Of several certificates in its file, the authority is the one of the key, wherever
// that stands.
func TestTheKeyTellsTheAuthority(t *testing.T) {
	p := build(t)
	places, files := placesOf(p.o), Tree(p.o.Dir).CA
	turn, key := succeed(t, "ca", places, time.Now())
	for name, c := range map[string]struct {
		bundle []*x509.Certificate
		key    []byte
		signs  *x509.Certificate
	}{
		"the old one, first":  {[]*x509.Certificate{turn.Old, turn.New}, nil, turn.Old},
		"the old one, second": {[]*x509.Certificate{turn.New, turn.Old}, nil, turn.Old},
		"the new one, second": {[]*x509.Certificate{turn.Old, turn.New}, key, turn.New},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := os.ReadFile(files.Key)
			if err != nil {
				t.Fatal(err)
			}
			defer write(t, files.Key, string(before))
			write(t, files.Cert, string(encodeCerts(c.bundle)))
			if c.key != nil {
				write(t, files.Key, string(c.key))
			}
			for _, it := range p.All() {
				if status, err := it.Look(); err != nil || status.State != Fits {
					t.Errorf("%s: %v, %v", it.Name, status, err)
				}
			}
			held := Hold(places)
			if held[0].Name != "ca" || !held[0].Certificate.Equal(c.signs) || held[0].External {
				t.Errorf("%+v", held[0])
			}
			if held[1].Name != "ca-2" || held[1].Certificate.Equal(c.signs) || !held[1].External {
				t.Errorf("%+v", held[1])
			}
			s, err := authority{p.o, clusterCA(p.o)}.signer()
			if err != nil || !s.cert.Equal(c.signs) {
				t.Errorf("%v", err)
			}
		})
	}
}

// The controller manager takes no file with more than one certificate.
func TestSigningCert(t *testing.T) {
	p := build(t)
	files := Tree(p.o.Dir).CA
	ca := find(t, p.All(), "certs/ca")
	if got := SigningCert(p.o.Dir); got != files.Cert || plan(t, ca) != nil {
		t.Errorf("%s", got)
	}
	turn, key := succeed(t, "ca", placesOf(p.o), time.Now())
	write(t, files.Cert, string(encodeCerts([]*x509.Certificate{turn.Old, turn.New})))
	if diff := cmp.Diff([]string{"ca-signing.crt"}, apply(t, []Item{ca})); diff != "" {
		t.Error(diff)
	}
	if got := SigningCert(p.o.Dir); got != filepath.Join(p.o.Dir, "ca-signing.crt") || !readCert(t, got).Equal(turn.Old) {
		t.Errorf("%s", got)
	}
	write(t, files.Key, string(key))
	apply(t, []Item{ca})
	if got := readCert(t, SigningCert(p.o.Dir)); !got.Equal(turn.New) {
		t.Error("it does not go with the key")
	}
	write(t, files.Cert, string(encodeCerts([]*x509.Certificate{turn.New})))
	if got := SigningCert(p.o.Dir); got != files.Cert {
		t.Errorf("%s", got)
	}
}
