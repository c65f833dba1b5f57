package config

import "testing"

func TestLocalAPI(t *testing.T) {
	for node, want := range map[string]string{
		"192.0.2.10": "https://127.0.0.1:7443",
		"fd00::10":   "https://[::1]:7443",
		"":           "https://127.0.0.1:7443",
	} {
		if got := LocalAPI(node); got != want {
			t.Errorf("on %q it is %s, want %s", node, got, want)
		}
	}
}
