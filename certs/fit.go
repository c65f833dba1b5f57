package certs

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/cloudflare/cfssl/config"
)

// A pair is a certificate and its key as far as they could be read.
type pair struct {
	chain   []*x509.Certificate // the certificate itself first
	certErr error
	key     crypto.Signer
	keyErr  error
}

func readPair(files Pair) pair {
	var p pair
	p.chain, p.certErr = readCerts(files.Cert)
	p.key, p.keyErr = readKey(files.Key)
	return p.keyFirst()
}

// keyFirst has the certificate that belongs to the key come first: while an
// authority is rotated, its file holds several.
func (p pair) keyFirst() pair {
	if p.certErr != nil || p.keyErr != nil {
		return p
	}
	i := slices.IndexFunc(p.chain, func(c *x509.Certificate) bool { return belong(c.PublicKey, p.key) })
	if i > 0 {
		p.chain = slices.Insert(slices.Delete(slices.Clone(p.chain), i, i+1), 0, p.chain[i])
	}
	return p
}

// unreadable returns the error that writing anew cannot mend: that of a file
// which is neither missing nor corrupt.
func (p pair) unreadable() error {
	for _, err := range []error{p.certErr, p.keyErr} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errCorrupt) {
			return err
		}
	}
	return nil
}

// matched says whether certificate and key belong together.
func (p pair) matched() bool {
	return p.certErr == nil && p.keyErr == nil && belong(p.chain[0].PublicKey, p.key)
}

// status judges p against the row and its authority.
func (r row) status(p pair, ca []*x509.Certificate, now time.Time) Status {
	if errors.Is(p.certErr, fs.ErrNotExist) {
		return Status{Missing, "is missing"}
	}
	if why := r.misfit(p, ca, now); why != "" {
		return Status{Unfit, why}
	}
	return ageing(p.chain[0], now)
}

// misfit says in words why p cannot be what the row wants: empty if it can.
// More names than wanted are no harm, they may be what people added by hand.
func (r row) misfit(p pair, ca []*x509.Certificate, now time.Time) string {
	switch {
	case p.certErr != nil:
		return "does not hold a certificate"
	case errors.Is(p.keyErr, fs.ErrNotExist):
		return "has lost its key"
	case p.keyErr != nil:
		return "has a key that cannot be read"
	case !p.matched():
		return "does not belong to its key"
	case len(ca) == 0:
		return "is not signed by the CA that is to be made"
	}
	c := p.chain[0]
	switch {
	case now.After(c.NotAfter):
		return "expired on " + date(c.NotAfter)
	case now.Before(c.NotBefore):
		return "is not valid before " + date(c.NotBefore)
	case !signed(p.chain, ca, now):
		return fmt.Sprintf("is not signed by the CA %q in use", ca[0].Subject.CommonName)
	case !r.named(c):
		return fmt.Sprintf("has the subject %s instead of %s", c.Subject, r.subject())
	}
	if lacks := r.missingUsages(c); len(lacks) > 0 {
		return "is not good for " + strings.Join(lacks, " and ")
	}
	if lacks := r.missingHosts(c); len(lacks) > 0 {
		return "does not name " + strings.Join(lacks, ", ")
	}
	return ""
}

// signed says whether a way leads from chain to one of the authorities.
func signed(chain, ca []*x509.Certificate, now time.Time) bool {
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, c := range ca {
		opts.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(opts)
	return err == nil
}

// named says whether c is issued to the row's subject.
func (r row) named(c *x509.Certificate) bool {
	return c.Subject.CommonName == r.cn && strings.Join(c.Subject.Organization, ",") == r.org
}

func (r row) subject() string {
	if r.org == "" {
		return "CN=" + r.cn
	}
	return "CN=" + r.cn + ",O=" + r.org
}

func (r row) missingUsages(c *x509.Certificate) []string {
	return slices.DeleteFunc(slices.Clone(r.usages), func(usage string) bool {
		return slices.Contains(c.ExtKeyUsage, config.ExtKeyUsage[usage])
	})
}

// missingHosts compares as text and not with c.VerifyHostname, which does not
// take a wildcard for a name.
func (r row) missingHosts(c *x509.Certificate) []string {
	has := names(c)
	return slices.DeleteFunc(slices.Clone(r.hosts), func(host string) bool {
		return slices.Contains(has, host)
	})
}

// names returns the names and addresses c is good for.
func names(c *x509.Certificate) []string {
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

// ageing is the status of a certificate that fits, by the life left in it.
func ageing(c *x509.Certificate, now time.Time) Status {
	left := c.NotAfter.Sub(now)
	if left > c.NotAfter.Sub(c.NotBefore)/3 {
		return Status{State: Fits}
	}
	return Status{Expiring, fmt.Sprintf("expires on %s, in %d days", date(c.NotAfter), int(left.Hours()/24))}
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }
