package main

import "testing"

func TestFlagOf(t *testing.T) {
	args := []string{"kubelet", "--config", "/a", "--config-dir=/b", "--node-ip", "1", "--node-ip=2", "--last"}
	for name, want := range map[string]string{"config": "/a", "config-dir": "/b", "node-ip": "2", "last": "", "none": ""} {
		if got := flagOf(args, name); got != want {
			t.Errorf("--%s: %q; want %q", name, got, want)
		}
	}
}
