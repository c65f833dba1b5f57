package config

import (
	"net/netip"
	"slices"
	"testing"
)

// Whatever host the test is on: it has a loopback address, and what its
// default routes leave from is configured on it.
func TestReadHost(t *testing.T) {
	h, err := ReadHost()
	if err != nil {
		t.Fatal(err)
	}
	if h.Name == "" {
		t.Error("no name")
	}
	if !slices.Contains(h.Prefixes, netip.MustParsePrefix("127.0.0.1/8")) {
		t.Errorf("no loopback address among %v", h.Prefixes)
	}
	for _, a := range h.Default {
		if !h.has(a) || a.IsLoopback() {
			t.Errorf("default address %s is not among %v", a, h.Prefixes)
		}
	}
}
