package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newScripted returns the address of a server that reads a request up to its end or
// its first 11 bytes, says the same to everyone, and hangs up.
func newScripted(t *testing.T, says string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerWith(conn, says)
		}
	}()
	return l.Addr().String()
}

func answerWith(conn net.Conn, says string) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	if first, err := r.Peek(1); err == nil && first[0] == 'G' { // GET, not a handshake
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
	}
	_, _ = io.WriteString(conn, says)
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn) // or what was not read resets the connection
}

// ask returns what comes of a request, in words.
func ask(t *testing.T, through http.RoundTripper, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: through}).Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.Status + ": " + string(body) + ": " + err.Error()
	}
	return resp.Status + ": " + string(body)
}

// What users read of a failed probe is what they read of upstream's, which are made
// by http.Transport.
func TestOnceSaysWhatTransportSays(t *testing.T) {
	careless := &tls.Config{InsecureSkipVerify: true}
	transport := &http.Transport{TLSClientConfig: careless, DisableKeepAlives: true, DisableCompression: true}
	for name, c := range map[string]struct{ scheme, says string }{
		"whole":             {"http", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		"chunked":           {"http", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		"old, to the end":   {"http", "HTTP/1.0 200 OK\r\n\r\nok"},
		"news before":       {"http", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		"hung up":           {"http", ""},
		"cut in the head":   {"http", "HTTP/1.1 200 OK\r\nContent-Le"},
		"cut in the body":   {"http", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"},
		"not HTTP":          {"http", "SSH-2.0-OpenSSH_9.7\r\n"},
		"other protocol":    {"http", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"},
		"plain HTTP":        {"https", "HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request"},
		"hung up, not HTTP": {"https", ""},
		"sent elsewhere":    {"http", "HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			url := c.scheme + "://" + newScripted(t, c.says) + "/x"
			if diff := cmp.Diff(ask(t, transport, url), ask(t, newOnce(careless), url)); diff != "" {
				t.Errorf("(-transport +once):\n%s", diff)
			}
		})
	}
}

// Headers without end are not kept: a container has the memory of its node at heart
// as little as anyone's.
func TestOnceReadsOnlySoMuch(t *testing.T) {
	url := "http://" + newScripted(t, "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("a", 2*maxResponse)+"\r\n\r\n")
	if got := ask(t, newOnce(nil), url); !strings.HasSuffix(got, "unexpected EOF") {
		t.Error(got)
	}
}

// A request that is given up on is, whatever it waits for.
func TestOnceIsGivenUp(t *testing.T) {
	for name, says := range map[string]string{"head": "", "body": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			ctx, cancel := context.WithCancel(t.Context())
			gone := make(chan error, 1)
			go func() { gone <- giveUp(l, says, cancel) }()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.Addr().String(), http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := newOnce(nil).RoundTrip(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close() // nothing was written
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("asked: %v", err)
			}
			if err := <-gone; err != nil {
				t.Errorf("the connection: %v", err)
			}
		})
	}
}

// giveUp answers a request by half, has the one who asks give up, and returns nil
// once he has hung up.
func giveUp(l net.Listener, says string, cancel func()) error {
	defer cancel()
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, says); err != nil {
		return err
	}
	cancel()
	_, _ = io.Copy(io.Discard, conn) // until it ends, or is reset
	return nil
}
