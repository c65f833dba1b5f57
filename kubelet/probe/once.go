package probe

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
)

// maxResponse is how many bytes of a response are read at most: headers, and as much
// of the body as is kept.
const maxResponse = 1 << 20

// usual is how many bytes most responses have at most.
const usual = 1 << 10

// A once makes each request on a connection of its own, from dialling to hanging up
// in the goroutine of who asks. http.Transport has four more for it, which wake each
// other at every step, and a node at rest does little else than to probe.
//
// It speaks HTTP/1.1, knows no proxy, and takes what comes as it is.
type once struct {
	dialer net.Dialer
	tls    *tls.Config
}

func newOnce(c *tls.Config) *once {
	return &once{dialer: newDialer(), tls: c}
}

// RoundTrip implements http.RoundTripper. Closing the body ends the connection.
func (o *once) RoundTrip(req *http.Request) (*http.Response, error) {
	if s := req.URL.Scheme; s != "http" && s != "https" { // of a redirect
		return nil, fmt.Errorf("unsupported protocol scheme %q", s)
	}
	ctx := req.Context()
	conn, err := o.dialer.DialContext(ctx, "tcp", hostPort(req.URL))
	if err != nil {
		return nil, overdue(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // wakes who waits for it
	c := &call{Conn: conn, ctx: ctx, stop: stop}
	resp, err := o.exchange(c, req)
	if err != nil {
		_ = c.Close() // it has failed already
		return nil, overdue(ctx, err)
	}
	return resp, nil
}

// exchange sends the request and reads the head of the response.
func (o *once) exchange(c *call, req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "https" {
		secure := tls.Client(c.Conn, o.configFor(req.URL.Hostname()))
		c.Conn = secure
		if err := secure.Handshake(); err != nil {
			return nil, err
		}
	}
	last := req.WithContext(c.ctx) // a copy: requests belong to who makes them
	last.Close = true
	unsent := send(c, last) // it may have been answered all the same
	resp, err := readResponse(c, last)
	if err != nil {
		return nil, cmp.Or(unsent, err)
	}
	resp.Body = &body{ReadCloser: resp.Body, call: c}
	return resp, nil
}

// send writes a request in one piece.
func send(to io.Writer, req *http.Request) error {
	var whole bytes.Buffer
	if err := req.Write(&whole); err != nil {
		return err
	}
	_, err := to.Write(whole.Bytes())
	return err
}

// configFor names a host to its server. Addresses are not named, so that the
// configuration is good as it is.
func (o *once) configFor(host string) *tls.Config {
	if _, err := netip.ParseAddr(host); err == nil {
		return o.tls
	}
	c := o.tls.Clone()
	c.ServerName = host
	return c
}

// readResponse reads up to the body, past what servers say before the response
// proper.
func readResponse(from io.Reader, req *http.Request) (*http.Response, error) {
	r := bufio.NewReaderSize(io.LimitReader(from, maxResponse), usual)
	if _, err := r.Peek(1); err != nil {
		return nil, err // it hung up without a word
	}
	for {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			return nil, fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", err)
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
}

// A call is a connection that lasts for one request, or until ctx ends.
type call struct {
	net.Conn
	ctx  context.Context //nolint:containedctx // the request's, which it is part of
	stop func() bool
}

// Close hangs up.
func (c *call) Close() error {
	c.stop()
	return c.Conn.Close()
}

// A body ends its call.
type body struct {
	io.ReadCloser
	call *call
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = overdue(b.call.ctx, err)
	}
	return n, err
}

// Close implements io.Closer. What is left of the body is not waited for.
func (b *body) Close() error { return b.call.Close() }

// overdue returns why a call failed: because its time was up, where it was.
func overdue(ctx context.Context, err error) error {
	switch cause := ctx.Err(); {
	case cause != nil:
		return cause
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded // the network's clock was a little early
	default:
		return err
	}
}

// hostPort returns where to dial.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" { // of a redirect
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
