package certs

import (
	"fmt"
	"strings"
	"time"

	"boot.internal/atomicfile"
	"boot.internal/hint"
)

// A leaf is a certificate signed by an authority of the table.
type leaf struct {
	o Options
	row
	authority authority
}

// Look implements item.
func (l leaf) Look() (Status, error) {
	status, _, err := l.look()
	return status, err
}

// look also returns what it read.
func (l leaf) look() (Status, pair, error) {
	p := readPair(l.files)
	if err := p.unreadable(); err != nil {
		return Status{}, p, err
	}
	ca, err := l.authority.load()
	if err != nil {
		return Status{}, p, err
	}
	status := l.status(p, ca.certs, time.Now())
	if !ca.external() || !status.wants() {
		return status, p, nil
	}
	if l.optional && status.State == Missing {
		return Status{Fits, "is missing, but need not be there"}, p, nil
	}
	return status, p, l.external(l.files.Cert, status, l.authority)
}

// external is the error for what only the holder of the CA's key can mend.
func (r row) external(path string, status Status, a authority) error {
	want := "with the subject " + r.subject() + ", good for " + strings.Join(r.usages, " and ")
	if len(r.hosts) > 0 {
		want += ", naming " + strings.Join(r.hosts, ", ")
	}
	return hint.With(fmt.Errorf("%s %s, and the CA's key %s is not on this machine to sign another", path, status.Reason, a.files.Key),
		"have it signed by the CA "+a.files.Cert+" "+want)
}

// Plan implements item.
//
// A renewed certificate gets a new key. A key without its certificate is the
// trace of a run that ended in between, and is used.
func (l leaf) Plan() ([]Write, error) {
	status, p, err := l.look()
	if err != nil || !status.wants() {
		return nil, err
	}
	var writes []Write
	switch {
	case p.matched():
		writes = append(writes, keyWrite(l.o.Algorithm, l.files.Key, "a renewed certificate gets a new key"))
	case p.keyErr != nil:
		writes = append(writes, keyWrite(l.o.Algorithm, l.files.Key, ""))
	}
	return append(writes, Write{l.files.Cert, status.why(), l.sign}), nil
}

// wants says whether a write is due.
func (s Status) wants() bool { return s.State == Missing || s.State == Unfit }

// why is the status as the reason of a write.
func (s Status) why() string {
	if s.State == Missing {
		return ""
	}
	return "it " + s.Reason
}

func (l leaf) sign() error {
	key, err := readKey(l.files.Key)
	if err != nil {
		return err
	}
	authority, err := l.authority.signer()
	if err != nil {
		return err
	}
	data, err := authority.sign(l.row, key, l.o.Period)
	if err != nil {
		return err
	}
	return atomicfile.Write(l.files.Cert, data, 0o644)
}
