package certs

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"boot.internal/atomicfile"
)

// A Turn is one authority taking the place of another, as far as files of a node are
// concerned; see [Succession].
type Turn struct {
	Name     string // of the authority: "ca", "front-proxy-ca", "etcd-ca"
	Old, New *x509.Certificate
	Cross    *x509.Certificate
}

// ParseTurn reads the certificates of a turn, of PEM with one in each, and checks
// that they belong together.
func ParseTurn(name string, before, after, cross []byte) (Turn, error) {
	t := Turn{Name: name}
	for _, c := range []struct {
		what string
		text []byte
		to   **x509.Certificate
	}{{"the old " + name, before, &t.Old}, {"the new " + name, after, &t.New}, {"the cross certificate of " + name, cross, &t.Cross}} {
		all, err := parseCerts(c.what, c.text)
		if err != nil {
			return Turn{}, err
		}
		*c.to = all[0]
	}
	if !sameKey(t.Cross, t.New) {
		return Turn{}, fmt.Errorf("the cross certificate is of another authority than the new %s", name)
	}
	if err := t.Cross.CheckSignatureFrom(t.Old); err != nil {
		return Turn{}, fmt.Errorf("the cross certificate of %s is not of the old one: %w", name, err)
	}
	return t, nil
}

// Both trusts the new authority where the old one is trusted.
func (t Turn) Both(trusted []*x509.Certificate) []*x509.Certificate {
	if !contains(trusted, t.Old) || contains(trusted, t.New) {
		return trusted
	}
	return append(slices.Clone(trusted), t.New)
}

// NewFirst has the new authority come before all others: the first is the one that
// signs.
func (t Turn) NewFirst(trusted []*x509.Certificate) []*x509.Certificate {
	if !contains(trusted, t.New) {
		return trusted
	}
	return append([]*x509.Certificate{t.New}, without(trusted, t.New)...)
}

// OnlyNew trusts the new authority in place of the old one.
func (t Turn) OnlyNew(trusted []*x509.Certificate) []*x509.Certificate {
	if !contains(trusted, t.Old) {
		return trusted
	}
	return append([]*x509.Certificate{t.New}, without(without(trusted, t.Old), t.New)...)
}

func without(all []*x509.Certificate, c *x509.Certificate) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(all), c.Equal)
}

// Files returns the two files of the authority on a node.
func (t Turn) Files(p Places) Pair {
	tree := Tree(p.PKI)
	return map[string]Pair{"ca": tree.CA, "front-proxy-ca": tree.FrontProxyCA, "etcd-ca": tree.EtcdCA}[t.Name]
}

// Signs says whether a certificate is signed by the new authority.
func (t Turn) Signs(c *x509.Certificate) bool { return c.CheckSignatureFrom(t.New) == nil }

// PlanKey returns the writes that have this node sign with the new authority: that
// of its cross certificate, and that of its key, in PEM, unless it is there already.
// The order is such that whoever is interrupted signs with the one or the other.
func (t Turn) PlanKey(p Places, key []byte, now time.Time) ([]Write, error) {
	files := t.Files(p)
	var writes []Write
	if w := KeepCross(files, t.Cross, now); w != nil {
		writes = append(writes, *w)
	}
	have, err := readKey(files.Key)
	if err != nil {
		return nil, err
	}
	if belong(t.New.PublicKey, have) {
		return writes, nil
	}
	next, err := parseKey("the new key of "+t.Name, key)
	if err != nil {
		return nil, err
	}
	if !belong(t.New.PublicKey, next) {
		return nil, fmt.Errorf("the new key of %s does not belong to its certificate", t.Name)
	}
	return append(writes, Write{Path: files.Key, Do: func() error { return atomicfile.Write(files.Key, key, 0o600) }}), nil
}
