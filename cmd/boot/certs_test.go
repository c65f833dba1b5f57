package main

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"boot.internal/certs"
)

func TestParseDays(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "30d": 30 * 24 * time.Hour, "90m": 90 * time.Minute, "1s": time.Second} {
		if got, err := parseDays(text); got != want || err != nil {
			t.Errorf("%q is %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"d", "soon", "-3d", "0", "1.5d"} {
		if got, err := parseDays(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// The exit code is that of the worst certificate.
func TestCertificateStates(t *testing.T) {
	now := time.Now()
	cert := func(left time.Duration) certs.Held {
		return certs.Held{Name: "apiserver", CA: "ca", Certificate: &x509.Certificate{NotBefore: now.Add(left - 365*24*time.Hour), NotAfter: now.Add(left)}}
	}
	const day = 24 * time.Hour
	broken := cert(100 * day)
	broken.Err = errors.New("does not belong to its key")
	for name, c := range map[string]struct {
		held  certs.Held
		warn  time.Duration
		state string
		code  int
	}{
		"fresh":                    {cert(100 * day), 0, certOK, 0},
		"30 days":                  {cert(30 * day), 0, certExpiring, exitExpiring},
		"as the user wants":        {cert(100 * day), 101 * day, certExpiring, exitExpiring},
		"late, as the user wants":  {cert(2 * day), day, certOK, 0},
		"ended":                    {cert(-time.Second), 0, certExpired, exitExpired},
		"unusable":                 {broken, 0, certUnusable, exitExpired},
		"unreadable":               {certs.Held{Name: "apiserver", CA: "ca", Err: errors.New("no certificate")}, 0, certUnusable, exitExpired},
		"ended, and to be told of": {cert(-time.Second), day, certExpired, exitExpired},
	} {
		p := printedCertificate(c.held, c.warn, now)
		err := judgeCertificates([]heldCertificate{p})
		var coded exitCoder
		if code := 0; p.State != c.state || errors.As(err, &coded) && coded.code != c.code || (err == nil) != (c.code == code) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func TestCertificatesTable(t *testing.T) {
	var out bytes.Buffer
	ui := &ui{out: &out}
	end := time.Date(2027, 1, 2, 3, 4, 0, 0, time.UTC)
	err := ui.certificates([]heldCertificate{
		{Name: "ca", State: certOK, Expires: &end, Remaining: 9 * 366 * 24 * 3600},
		{Name: "apiserver", CA: "ca", State: certOK, Expires: &end, Remaining: 200 * 24 * 3600, External: true},
		{Name: "admin.conf", CA: "ca", State: certExpired, Expires: &end, Remaining: -90},
		{Name: "etcd-peer", CA: "etcd-ca", State: certUnusable, Error: "has lost its key"},
	})
	want := strings.Join([]string{
		"NAME         EXPIRES                  REMAINING          CA        EXTERNALLY MANAGED",
		"ca           Jan 02, 2027 03:04 UTC   9y                 -         no",
		"apiserver    Jan 02, 2027 03:04 UTC   200d               ca        yes",
		"admin.conf   Jan 02, 2027 03:04 UTC   ended 1m30s ago    ca        no",
		"etcd-peer    -                        has lost its key   etcd-ca   no",
		"",
	}, "\n")
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\n%s", err, out.String(), want)
	}
}
