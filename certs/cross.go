package certs

import (
	"bytes"
	"crypto/x509"
	"strings"
	"time"

	"boot.internal/atomicfile"
)

// CrossPath is where an authority's certificates lie that older ones have signed:
// beside its own, pki/ca-cross.crt. Not every authority has any.
func (f Pair) CrossPath() string { return strings.TrimSuffix(f.Cert, ".crt") + "-cross.crt" }

// crossOf returns what is to follow a certificate that the authority signs, in PEM.
// What cannot be read is left out: a certificate is good without it for all but
// those who trust an older authority alone.
func crossOf(files Pair, authority *x509.Certificate, now time.Time) []byte {
	all, err := readCerts(files.CrossPath())
	if err != nil {
		return nil
	}
	return encodeCerts(vouching(authority, all, now))
}

// vouching returns those of all that lead from the authority to older ones, and are
// valid.
func vouching(authority *x509.Certificate, all []*x509.Certificate, now time.Time) []*x509.Certificate {
	var way []*x509.Certificate
	for next := authority; next != nil; {
		found := (*x509.Certificate)(nil)
		for _, c := range all {
			valid := !now.Before(c.NotBefore) && !now.After(c.NotAfter)
			if valid && sameKey(c, next) && !contains(way, c) {
				found = c
				break
			}
		}
		if found == nil {
			return way
		}
		way = append(way, found)
		next = issuerOf(found, all)
	}
	return way
}

// issuerOf returns the one of all whose key has signed c, nil if there is none.
func issuerOf(c *x509.Certificate, all []*x509.Certificate) *x509.Certificate {
	for _, other := range all {
		if other != c && c.CheckSignatureFrom(other) == nil {
			return other
		}
	}
	return nil
}

// sameKey says whether two certificates are of one authority.
func sameKey(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

func contains(all []*x509.Certificate, c *x509.Certificate) bool {
	for _, other := range all {
		if other.Equal(c) {
			return true
		}
	}
	return false
}

func encodeCerts(all []*x509.Certificate) []byte {
	var text []byte
	for _, c := range all {
		text = append(text, certPEM(c.Raw)...)
	}
	return text
}

// KeepCross returns the write that keeps a [Succession.Cross] in its place, nil if
// it is there. Those of earlier successions stay behind it while they are valid.
func KeepCross(files Pair, cross *x509.Certificate, now time.Time) *Write {
	before, _ := readCerts(files.CrossPath()) // what cannot be read vouches for nobody
	if contains(before, cross) {
		return nil
	}
	all := []*x509.Certificate{cross}
	for _, c := range before {
		if now.Before(c.NotAfter) {
			all = append(all, c)
		}
	}
	path := files.CrossPath()
	return &Write{Path: path, Do: func() error { return atomicfile.Write(path, encodeCerts(all), 0o644) }}
}
