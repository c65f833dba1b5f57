package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// An httpHandler makes GET requests, each on a connection of its own: whether
// the server takes new ones is part of the question.
type httpHandler struct{ client *http.Client }

func newHTTPHandler() httpHandler {
	return httpHandler{&http.Client{
		// A probe asks whether the server answers, not who it is. Nor has it secrets
		// to keep from computers that are yet to be built: with a key exchange that
		// withstands them it takes a third more time of both ends, every second.
		Transport: newOnce(&tls.Config{
			InsecureSkipVerify: true,
			VerifyConnection:   new(peers).remember,
			CurvePreferences:   []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
		}),
		CheckRedirect: stayOnHost,
	}}
}

// stayOnHost follows redirects on the host that was asked, 10 at most. Others
// are no business of the node's: the container answered, which is success.
func stayOnHost(next *http.Request, via []*http.Request) error {
	switch {
	case next.URL.Hostname() != via[0].URL.Hostname():
		return http.ErrUseLastResponse
	case len(via) >= 10:
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

// get makes one request. Any status from 200 to 399 is success.
func (h httpHandler) get(ctx context.Context, ip string, port int, get *v1.HTTPGetAction) (answer, error) {
	req, err := newRequest(ctx, ip, port, get)
	if err != nil {
		return answer{}, err
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return failed(err), nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOutput))
	_ = resp.Body.Close() // the connection ends with it
	switch {
	case err != nil:
		return failed(err), nil
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return answer{ok: true, warning: true, output: fmt.Sprintf("Probe terminated redirects, Response body: %s", body)}, nil
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return answer{ok: true}, nil
	default:
		return answer{output: fmt.Sprintf("HTTP probe failed with statuscode: %d", resp.StatusCode)}, nil
	}
}

// newRequest builds the request a probe asks for.
func newRequest(ctx context.Context, ip string, port int, get *v1.HTTPGetAction) (*http.Request, error) {
	target, err := url.Parse(get.Path) // with a query, perhaps
	if err != nil {
		// What url cannot read may still be a path.
		target = &url.URL{Path: get.Path}
	}
	target.Scheme = strings.ToLower(orElse(string(get.Scheme), "http"))
	target.Host = address(orElse(get.Host, ip), port)
	if !strings.HasPrefix(target.Path, "/") {
		target.Path = "/" + target.Path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = headers(get.HTTPHeaders)
	req.Host = req.Header.Get("Host")
	req.Header.Del("Host")
	return req, nil
}

// headers returns the headers the user asks for, and those that go with every
// probe unless the user gives them: one given as empty is not sent.
func headers(given []v1.HTTPHeader) http.Header {
	h := http.Header{}
	for _, g := range given {
		name := textproto.CanonicalMIMEHeaderKey(g.Name)
		h[name] = append(h[name], g.Value)
	}
	for name, value := range map[string]string{"User-Agent": userAgent, "Accept": "*/*"} {
		values, ok := h[name]
		switch {
		case !ok:
			h.Set(name, value)
		case name == "Accept" && values[0] == "":
			h.Del(name)
		}
	}
	return h
}
