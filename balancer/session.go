package balancer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// ServerName is a name that the certificate of every API server is good for,
// whoever made it: "kubernetes".
const ServerName = "kubernetes"

const (
	// dialPatience is how long a server may take to take a connection.
	dialPatience = time.Second
	// hungPatience is how long a server whose host lives may take to say anything.
	hungPatience = 5 * time.Second
)

// An asked is a connection by which a server is asked how it is.
type asked interface {
	// Ping returns once the server has sent back a ping.
	Ping(ctx context.Context) error
	// Ready returns nil if the server says that it is ready.
	Ready(ctx context.Context) error
	Close()
}

// An opener connects to a server. An error of one that cannot be connected to is
// a *net.OpError of "dial".
type opener func(ctx context.Context, address string) (asked, error)

// errForbidden is what a server says that has not read its rules yet, or has none
// by which anybody may ask.
var errForbidden = errors.New("nobody may ask whether it is ready")

// A session is how servers are asked: by a connection of HTTP/2, whose pings cost
// the server next to nothing, and one of HTTP/1.1. An API server ends those of
// HTTP/2 on which somebody without a name has asked anything
// (UnauthenticatedHTTP2DOSMitigation).
type session struct {
	roots func() (*x509.CertPool, error)
}

// open implements opener.
func (s session) open(ctx context.Context, address string) (asked, error) {
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{Timeout: dialPatience}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	trust := &tls.Config{RootCAs: roots, ServerName: ServerName, MinVersion: tls.VersionTLS12}
	pinged := trust.Clone()
	pinged.NextProtos = []string{http2.NextProtoTLS}
	secure := tls.Client(raw, pinged)
	limited, cancel := context.WithTimeout(ctx, hungPatience)
	defer cancel()
	if err := secure.HandshakeContext(limited); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("shake hands: %w", err)
	}
	conn, err := (&http2.Transport{}).NewClientConn(secure) //nolint:staticcheck // that of net/http has no ping
	if err != nil {
		_ = secure.Close()
		return nil, fmt.Errorf("talk HTTP/2: %w", err)
	}
	return connections{ClientConn: conn, asker: asker(trust), address: address}, nil
}

// asker returns what asks by a single connection of HTTP/1.1.
func asker(trust *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialPatience}).DialContext,
		TLSClientConfig:     trust,
		TLSHandshakeTimeout: hungPatience,
		MaxConnsPerHost:     1,
	}}
}

// connections are the two to one server.
type connections struct {
	*http2.ClientConn
	asker   *http.Client
	address string
}

// Close implements asked.
func (c connections) Close() {
	_ = c.ClientConn.Close()
	c.asker.CloseIdleConnections()
}

// Ready implements asked. What refuses to say who may ask is at work.
func (c connections) Ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.address+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	response, err := c.asker.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	switch {
	case err != nil:
		return err
	case response.StatusCode == http.StatusForbidden:
		return errForbidden
	case response.StatusCode == http.StatusOK, response.StatusCode == http.StatusUnauthorized:
		return nil
	}
	return fmt.Errorf("%s: %s", response.Status, failing(string(body)))
}

// failing picks the checks that fail, "[-]etcd failed: …", out of the answer.
func failing(body string) string {
	var bad []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "[-]") {
			bad = append(bad, strings.TrimSpace(line))
		}
	}
	return strings.Join(bad, ", ")
}

// reach connects and hangs up: whether it can is told by the server's kernel,
// however busy the server is.
func reach(address string) error {
	conn, err := net.DialTimeout("tcp", address, reachPatience)
	if err != nil {
		return err
	}
	return conn.Close()
}

// unreachable says whether an error is that of a connection not made.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
