package templates

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"boot.internal/config"
)

// What a component notices by itself does not restart its pod.
func TestReadOnce(t *testing.T) {
	for _, c := range []struct{ config, component, want string }{
		{"default", config.ComponentEtcd, "ca.crt"},
		{"default", config.ComponentAPIServer, "sa.pub sa.key ca.crt"},
		{"default", config.ComponentControllerManager, "ca.crt sa.key controller-manager.conf"},
		{"default", config.ComponentScheduler, "scheduler.conf"},
		{"default", config.ComponentProxy, "kubelet.conf"},
	} {
		var got []string
		for _, file := range ReadOnce(load(t, c.config), c.component) {
			got = append(got, path.Base(file))
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s, %s: %s, want %s", c.config, c.component, got, c.want)
		}
	}
}

func TestReadOnceOfExternalEtcd(t *testing.T) {
	cfg := load(t, "external-etcd")
	files := ReadOnce(cfg, config.ComponentAPIServer)
	if got := files[len(files)-1]; got != cfg.Cluster.Etcd.External.CAFile {
		t.Errorf("%s of %q", got, files)
	}
}

// A manifest with another hash is what would be rendered with it, to the byte: so
// that init, run again, changes nothing.
func TestWithHash(t *testing.T) {
	cfg := load(t, "default")
	in := inputs(t, cfg)
	before := manifests(t, cfg, in)
	for _, c := range components() {
		in.CertsHash[c] = "renewed"
	}
	for file, want := range manifests(t, cfg, in) {
		if file == "kube-proxy-config.yaml" {
			continue
		}
		got, err := WithHash([]byte(before[file]), "renewed")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
		if hash, err := HashOf(got); hash != "renewed" || err != nil {
			t.Errorf("%s has the hash %q, %v", file, hash, err)
		}
	}
	if hash, err := HashOf([]byte("kind: Pod")); hash != "" || err != nil {
		t.Errorf("none is %q, %v", hash, err)
	}
	if got, err := WithHash([]byte("kind: Pod"), "a"); err != nil || !strings.Contains(string(got), "boot.internal/certs-hash: a") {
		t.Errorf("%s, %v", got, err)
	}
}
