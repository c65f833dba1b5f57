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
	certFile, keyFile string

	mu   sync.Mutex // guards the fields below
	read time.Time  // modification time of what was read
	last *tls.Certificate
}

// openCertificate reads the serving certificate, and makes it if there is none.
func openCertificate(o Options) (*certificate, error) {
	c := &certificate{certFile: o.CertFile, keyFile: o.KeyFile}
	_, certErr := os.Stat(o.CertFile)
	_, keyErr := os.Stat(o.KeyFile)
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		if err := makeCertificate(o); err != nil {
			return nil, err
		}
	}
	_, err := c.get(nil)
	return c, err
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
	c.mu.Lock()
	defer c.mu.Unlock()
	fi, err := os.Stat(c.certFile)
	if err == nil && c.last != nil && fi.ModTime().Equal(c.read) {
		return c.last, nil
	}
	pair, perr := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err := errors.Join(err, perr); err != nil {
		if c.last != nil {
			return c.last, nil
		}
		return nil, fmt.Errorf("read serving certificate: %w", err)
	}
	c.last, c.read = &pair, fi.ModTime()
	return c.last, nil
}
