package probe

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"weak"
)

// A certificate that a server has shown before is not read again, however often the
// collector ran meanwhile.
func TestPeersAreRemembered(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	var p peers
	var shown []weak.Pointer[x509.Certificate]
	client := http.Client{Transport: newOnce(&tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			shown = append(shown, weak.Make(s.PeerCertificates[0]))
			return p.remember(s)
		},
	})}
	for range 2 {
		resp, err := client.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		runtime.GC()
		runtime.GC() // what had something to be done at its end goes with the second
	}
	if shown[0] != shown[1] {
		t.Error("it was read again")
	}
}

// No more are held than there is room for, the last ones.
func TestPeersAreForgotten(t *testing.T) {
	var p peers
	all := make([]*x509.Certificate, mostPeers+1)
	for i := range all {
		all[i] = &x509.Certificate{}
		for range 2 { // twice the same takes no more room
			if err := p.remember(tls.ConnectionState{PeerCertificates: all[i : i+1]}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, h := range p.held {
		want := all[i]
		if i == 0 {
			want = all[mostPeers]
		}
		if h[0] != want {
			t.Errorf("the one in place %d is not the last that came to it", i)
		}
	}
}
