package main

import (
	"path/filepath"
	"testing"

	"boot.internal/config"
)

// What the user names from where the command runs, the loop finds from elsewhere.
func TestLoopArgs(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	cfg := &config.Init{}
	cfg.Init.NodeRegistration.KubeletExtraArgs = []config.Arg{
		{Name: "config-dir", Value: "drop-ins"}, {Name: "cert-dir", Value: "/pki"}, {Name: "node-labels", Value: "disk=ssd"},
	}
	args, err := loopArgs(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"config-dir": filepath.Join(dir, "drop-ins"), "cert-dir": "/pki", "node-labels": "disk=ssd"} {
		if got := flagOf(args, name); got != want {
			t.Errorf("--%s: %q; want %q", name, got, want)
		}
	}
}

func TestFlagOf(t *testing.T) {
	args := []string{"kubelet", "--config", "/a", "--config-dir=/b", "--node-ip", "1", "--node-ip=2", "--last"}
	for name, want := range map[string]string{"config": "/a", "config-dir": "/b", "node-ip": "2", "last": "", "none": ""} {
		if got := flagOf(args, name); got != want {
			t.Errorf("--%s: %q; want %q", name, got, want)
		}
	}
}
