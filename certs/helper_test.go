package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudflare/cfssl/log"
)

const year = 365 * 24 * time.Hour

// options are those of a node called "node-1", with everything under dir.
func options(dir string) Options {
	return Options{
		Dir:           filepath.Join(dir, "etc/pki"),
		KubernetesDir: filepath.Join(dir, "etc"),
		KubeletDir:    filepath.Join(dir, "kubelet/pki"),

		ClusterName:          "kubernetes",
		NodeName:             "node-1",
		AdvertiseAddress:     "192.0.2.10",
		ServiceIP:            "10.96.0.1",
		DNSDomain:            "cluster.local",
		ControlPlaneHost:     "api.example",
		APIServerSANs:        []string{"*.example", "198.51.100.7"},
		EtcdServerSANs:       []string{"etcd.example"},
		EtcdPeerSANs:         []string{"peer.example"},
		ControlPlaneEndpoint: "https://api.example:6443",
		LocalEndpoint:        "https://192.0.2.10:6443",
		NodeEndpoint:         "https://127.0.0.1:7443",
		NodeServerName:       "kubernetes",

		Algorithm: ECDSAP256,
		CAPeriod:  10 * year,
		Period:    year,
	}
}

// build makes a whole PKI in a new directory.
func build(t *testing.T) *PKI {
	t.Helper()
	p := New(options(t.TempDir()))
	apply(t, p.All())
	return p
}

// apply makes every planned write, and checks that no item has any left. It
// returns the files written, short, in order.
func apply(t *testing.T, items []Item) []string {
	t.Helper()
	var wrote []string
	for _, it := range items {
		for _, w := range plan(t, it) {
			if err := w.Do(); err != nil {
				t.Fatalf("%s: write %s: %v", it.Name, w.Path, err)
			}
			wrote = append(wrote, filepath.Base(w.Path))
		}
		if left := plan(t, it); len(left) > 0 {
			t.Fatalf("%s: %s is still to be written: %q", it.Name, left[0].Path, left[0].Why)
		}
	}
	return wrote
}

func plan(t *testing.T, it Item) []Write {
	t.Helper()
	writes, err := it.Plan()
	if err != nil {
		t.Fatalf("plan %s: %v", it.Name, err)
	}
	return writes
}

// TestMain silences cfssl, which tells of every certificate it signs.
func TestMain(m *testing.M) {
	log.Level = log.LevelError
	m.Run()
}

func find(t *testing.T, items []Item, name string) Item {
	t.Helper()
	for _, it := range items {
		if it.Name == name {
			return it
		}
	}
	t.Fatalf("no item is called %s", name)
	return Item{}
}

func readCert(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	chain, err := readCerts(path)
	if err != nil {
		t.Fatal(err)
	}
	return chain[0]
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// files reads every file under dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(bytes.TrimSpace(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantError checks that err says text and carries a hint that says advice.
func wantError(t *testing.T, err error, text, advice string) {
	t.Helper()
	var h interface{ Hint() string }
	switch {
	case err == nil:
		t.Fatalf("no error, want %q", text)
	case !strings.Contains(err.Error(), text):
		t.Errorf("error %q does not say %q", err, text)
	case !errors.As(err, &h):
		t.Errorf("error %q has no hint", err)
	case !strings.Contains(h.Hint(), advice):
		t.Errorf("hint %q does not say %q", h.Hint(), advice)
	}
}
