package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
)

// pass passes a request on to the runtime, with all that follows once the connection
// has another protocol, until one side hangs up. What the runtime refuses is passed
// back.
func pass(w http.ResponseWriter, r *http.Request, target *url.URL) {
	if !isUpgrade(r) {
		refuseStream(w, r, errors.New("Upgrade request required")) //nolint:staticcheck // clients read it
		return
	}
	p := httputil.ReverseProxy{
		Rewrite:        func(p *httputil.ProxyRequest) { p.Out.URL = target },
		Transport:      &http.Transport{DisableKeepAlives: true}, // the next has a URL of its own
		ModifyResponse: upgraded,
		ErrorHandler:   refuseStream,
	}
	p.ServeHTTP(w, r)
}

// isUpgrade reports whether a client asks for another protocol.
func isUpgrade(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Connection"), func(v string) bool {
		return strings.Contains(strings.ToLower(v), "upgrade")
	})
}

// upgraded takes the answer of the runtime.
func upgraded(r *http.Response) error {
	switch {
	case r.StatusCode >= 400:
		return nil
	case r.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("invalid upgrade response: status code %d", r.StatusCode)
	}
	if stream, ok := r.Body.(io.ReadWriteCloser); ok {
		r.Body = whole{stream}
	}
	return nil
}

// A whole stream ends for both directions at once: neither side has anything to say
// to one that has hung up.
type whole struct{ io.ReadWriteCloser }

var errHungUp = errors.New("the runtime has hung up")

// Read implements io.Reader.
func (w whole) Read(p []byte) (int, error) {
	n, err := w.ReadWriteCloser.Read(p)
	if errors.Is(err, io.EOF) {
		err = errHungUp
	}
	return n, err
}

// refuseStream answers where a stream cannot be passed on.
func refuseStream(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
