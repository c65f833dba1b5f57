package certs

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"boot.internal/atomicfile"
	"boot.internal/hint"
)

// An authority is a CA. Once there is one it is never replaced, so whatever is
// wrong with it is an error and not a reason to write.
type authority struct {
	o Options
	row
}

// A ca is what there is of an authority. Without certs it is still to be made,
// perhaps of the key an interrupted run left; without key it is external.
type ca struct {
	certs []*x509.Certificate
	key   crypto.Signer
}

func (c ca) external() bool { return len(c.certs) > 0 && c.key == nil }

// load reads the authority and insists that it can do its work.
func (a authority) load() (ca, error) {
	p := readPair(a.files)
	if err := p.unreadable(); err != nil {
		return ca{}, err
	}
	if errors.Is(p.certErr, errCorrupt) {
		return ca{}, hint.With(p.certErr, "restore it from a backup, or sign it again with "+a.files.Key)
	}
	if errors.Is(p.keyErr, errCorrupt) {
		return ca{}, hint.With(p.keyErr, "restore it from a backup")
	}
	if p.certErr != nil {
		return ca{key: p.key}, nil
	}
	if p.key != nil && !p.matched() {
		return ca{}, hint.With(fmt.Errorf("%s does not belong to %s", a.files.Cert, a.files.Key),
			"restore the one that was replaced; everything in the cluster trusts the old certificate")
	}
	return ca{p.chain, p.key}, a.usable(p.chain[0], time.Now())
}

func (a authority) usable(c *x509.Certificate, now time.Time) error {
	switch {
	case !c.IsCA:
		return hint.With(fmt.Errorf("%s is not a certificate authority", a.files.Cert), "put the CA's own certificate there")
	case now.After(c.NotAfter):
		return hint.With(fmt.Errorf("%s expired on %s", a.files.Cert, date(c.NotAfter)),
			"check this machine's clock; if it is right, the CA has to be signed again and handed to every node")
	case now.Before(c.NotBefore):
		return hint.With(fmt.Errorf("%s is not valid before %s", a.files.Cert, date(c.NotBefore)), "check this machine's clock")
	}
	return nil
}

// Look implements item.
func (a authority) Look() (Status, error) {
	ca, err := a.load()
	if err != nil {
		return Status{}, err
	}
	if len(ca.certs) == 0 {
		return Status{Missing, "is missing"}, nil
	}
	return ageing(ca.certs[0], time.Now()), nil
}

// Plan implements item: the key is on disk before anything is signed with it.
func (a authority) Plan() ([]Write, error) {
	ca, err := a.load()
	if err != nil {
		return nil, err
	}
	if len(ca.certs) > 0 {
		return a.planSigning(ca)
	}
	var writes []Write
	if ca.key == nil {
		writes = append(writes, keyWrite(a.o.Algorithm, a.files.Key, ""))
	}
	return append(writes, Write{Path: a.files.Cert, Do: a.sign}), nil
}

func (a authority) sign() error {
	key, err := readKey(a.files.Key)
	if err != nil {
		return err
	}
	data, err := selfSign(a.row, key, a.o.CAPeriod)
	if err != nil {
		return err
	}
	return atomicfile.Write(a.files.Cert, data, 0o644)
}

// signer loads the authority to sign with.
func (a authority) signer() (signing, error) {
	ca, err := a.load()
	switch {
	case err != nil:
		return signing{}, err
	case len(ca.certs) == 0:
		return signing{}, hint.With(fmt.Errorf("read %s: %w", a.files.Cert, fs.ErrNotExist), "make the CA first: phase certs/"+a.name)
	case ca.external():
		return signing{}, fmt.Errorf("read %s: %w", a.files.Key, fs.ErrNotExist)
	}
	return signing{ca.certs[0], ca.key, crossOf(a.files, ca.certs[0], time.Now())}, nil
}

// keyWrite is the write of a new key.
func keyWrite(algorithm Algorithm, path, why string) Write {
	return Write{Path: path, Why: why, Do: func() error {
		key, err := algorithm.newKey()
		if err != nil {
			return err
		}
		return writeKey(path, key)
	}}
}
