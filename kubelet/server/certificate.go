package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	certutil "k8s.io/client-go/util/cert"

	"boot.internal/atomicfile"
)

// A certificate is the serving certificate, read again when its file changes:
// whoever renews it need not tell.
type certificate struct {
	o Options

	mu   sync.Mutex // guards the fields below
	read time.Time  // modification time of what was read
	last *tls.Certificate
}

// openCertificate reads the serving certificate. One that is not there, or of
// which only a half is, is only missed when somebody asks for it: whoever sets
// the node up may bring one of the cluster's until then.
func openCertificate(o Options) (*certificate, error) {
	c := &certificate{o: o}
	if !exists(o.CertFile) || !exists(o.KeyFile) {
		return c, nil
	}
	_, err := c.get(nil)
	return c, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// makeCertificate makes a self-signed certificate, as the kubelet does where it
// is given none.
func makeCertificate(o Options) error {
	var ips []net.IP
	for _, ip := range o.IPs {
		ips = append(ips, net.ParseIP(ip))
	}
	cert, key, err := certutil.GenerateSelfSignedCertKey(o.Node, ips, nil)
	if err != nil {
		return fmt.Errorf("make serving certificate: %w", err)
	}
	if err := atomicfile.Write(o.KeyFile, key, 0o600); err != nil {
		return err
	}
	return atomicfile.Write(o.CertFile, cert, 0o644)
}

// get returns the certificate as it is now. While a new one is being written,
// and does not fit its key, the last one serves on.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.o.Signed != nil {
		if signed := c.o.Signed(); signed != nil {
			return signed, nil
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil && !exists(c.o.CertFile) && !exists(c.o.KeyFile) {
		if err := makeCertificate(c.o); err != nil {
			return nil, err
		}
	}
	fi, err := os.Stat(c.o.CertFile)
	if err == nil && c.last != nil && fi.ModTime().Equal(c.read) {
		return c.last, nil
	}
	pair, perr := tls.LoadX509KeyPair(c.o.CertFile, c.o.KeyFile)
	if err := errors.Join(err, perr); err != nil {
		if c.last != nil {
			return c.last, nil
		}
		return nil, fmt.Errorf("read serving certificate: %w", err)
	}
	c.last, c.read = &pair, fi.ModTime()
	return c.last, nil
}
