package certs

import (
	"crypto/x509"
	"time"
)

// Info is what there is to show of one certificate.
type Info struct {
	Name     string // of the item
	Path     string // the file it is in
	Subject  string
	Issuer   string
	SANs     []string // names and addresses it is good for
	NotAfter time.Time
	State    State
	Reason   string // in words, when State is not Fits
}

// Inspect lists every certificate of the PKI, also those in kubeconfigs, with
// what is known of it: a missing or broken one has no subject.
func (p *PKI) Inspect() []Info {
	var infos []Info
	for _, it := range p.All() {
		if c, ok := it.certificate(); ok {
			infos = append(infos, it.info(c))
		}
	}
	return infos
}

func (it Item) info(c *x509.Certificate) Info {
	info := Info{Name: it.Name, Path: it.Path}
	status, err := it.Look()
	info.State, info.Reason = status.State, status.Reason
	if err != nil {
		info.State, info.Reason = Unfit, err.Error()
	}
	if c != nil {
		info.Subject, info.Issuer = c.Subject.String(), c.Issuer.String()
		info.SANs, info.NotAfter = names(c), c.NotAfter
	}
	return info
}

func (a authority) certificate() (*x509.Certificate, bool) { return readPair(a.files).first(), true }

func (l leaf) certificate() (*x509.Certificate, bool) { return readPair(l.files).first(), true }

func (k kubeconfig) certificate() (*x509.Certificate, bool) {
	// What is wrong with the file is Look's to say; here it only has nothing to show.
	a, err := readAccess(k.path)
	if err != nil {
		return nil, true
	}
	return a.user.first(), true
}

// certificate has nothing to show: keys do not expire.
func (s serviceAccount) certificate() (*x509.Certificate, bool) { return nil, false }

// first returns the pair's own certificate, nil if it could not be read.
func (p pair) first() *x509.Certificate {
	if p.certErr != nil {
		return nil
	}
	return p.chain[0]
}
