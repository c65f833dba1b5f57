package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// newPassing starts a server that passes everything on to a runtime, and returns a
// connection to it on which an upgrade was asked for.
func newPassing(t *testing.T, runtime http.HandlerFunc) (net.Conn, *bufio.Reader) {
	t.Helper()
	back := httptest.NewServer(runtime)
	t.Cleanup(back.Close)
	target, err := url.Parse(back.URL + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { pass(w, r, target) }))
	t.Cleanup(front.Close)
	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: letters\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// letters is a runtime that speaks letters, for as long as talk lasts.
func letters(t *testing.T, talk func(net.Conn, *bufio.ReadWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" || r.Header.Get("Upgrade") != "letters" {
			t.Errorf("asked for %s as %q", r.URL, r.Header.Get("Upgrade"))
		}
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = both.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: letters\r\n\r\n")
		_ = both.Flush()
		talk(conn, both)
	}
}

// Whoever hangs up ends the stream of both.
func TestPassHangUp(t *testing.T) {
	t.Run("the runtime", func(t *testing.T) {
		_, r := newPassing(t, letters(t, func(_ net.Conn, both *bufio.ReadWriter) {
			_, _ = both.WriteString("abc")
			_ = both.Flush()
		}))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }() // it has none
		if got, err := io.ReadAll(r); string(got) != "abc" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("the client", func(t *testing.T) {
		heard := make(chan string, 1)
		conn, r := newPassing(t, letters(t, func(_ net.Conn, both *bufio.ReadWriter) {
			got, _ := io.ReadAll(both)
			heard <- string(got)
		}))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }() // it has none
		if _, err := io.WriteString(conn, "abc"); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if got := <-heard; got != "abc" {
			t.Errorf("the runtime heard %q", got)
		}
	})
}

// What the runtime refuses is the client's to know; what is neither that nor a
// stream is nothing it could make use of.
func TestPassRefused(t *testing.T) {
	for _, c := range []struct {
		answer, want int
		text         string
	}{
		{http.StatusNotFound, http.StatusNotFound, "says the runtime"},
		{http.StatusOK, http.StatusInternalServerError, "invalid upgrade response: status code 200"},
	} {
		_, r := newPassing(t, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "says the runtime", c.answer)
		})
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != c.want || !strings.Contains(string(body), c.text) {
			t.Errorf("%d became %d: %s", c.answer, resp.StatusCode, body)
		}
	}
}
