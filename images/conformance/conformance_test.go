package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/mod/modfile"

	"boot.internal/images/pack"
)

// BusyBox has the names that no other program of the root has, and its netcat
// and shell give way to better ones.
func TestFurnish(t *testing.T) {
	files := pack.Tree{pack.Text("usr/bin/busybox", ""), pack.Text("usr/sbin/ip", ""), pack.Text("usr/bin/nc.openbsd", ""), pack.Text("bin/bash-static", "")}
	got := map[string]string{}
	for _, e := range furnish(root{files: files, applets: []string{"ip", "nc", "sh", "vi"}}) {
		if e.Link != "" {
			got[e.Path] = e.Link
		}
	}
	want := map[string]string{"usr/bin/nc": "nc.openbsd", "usr/bin/sh": "bash-static", "usr/bin/vi": "busybox"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

// The layout is the one that agnhost reads: a tag leads to an index, that to a
// manifest, and that to its blobs.
func TestFakeRegistry(t *testing.T) {
	var archive bytes.Buffer
	if err := (pack.Recipe{Name: "r.example/pause:1", Root: pack.Tree{pack.Text("pause", "")}, Config: v1.Config{}}).WriteArchive(&archive); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "pause.tar")
	if err := os.WriteFile(name, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	tree, err := fakeRegistry(name)
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string][]byte{}
	for _, e := range tree {
		bodies[e.Path] = e.Body
	}
	follow := func(kind, digest string) []byte {
		t.Helper()
		hash, err := v1.NewHash(digest)
		if err != nil {
			t.Fatal(err)
		}
		body, ok := bodies["var/registry/pause/"+kind+"/sha256/"+hash.Hex[:2]+"/"+hash.Hex+"/data"]
		if !ok {
			t.Fatalf("no %s %s in %v", kind, digest, slices.Sorted(maps.Keys(bodies)))
		}
		return body
	}
	tag := string(bytes.TrimSpace(bodies["var/registry/pause/manifests/testing"]))
	index, err := v1.ParseIndexManifest(bytes.NewReader(follow("manifests", tag)))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(follow("manifests", index.Manifests[0].Digest.String())))
	if err != nil {
		t.Fatal(err)
	}
	follow("blobs", manifest.Config.Digest.String())
	for _, layer := range manifest.Layers {
		follow("blobs", layer.Digest.String())
	}
}

// The images of the sidecars have the tags of what is in them.
func TestSidecarVersions(t *testing.T) {
	text, err := os.ReadFile("sidecars/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	pinned := map[string]string{}
	for _, r := range mod.Require {
		pinned[r.Mod.Path] = r.Mod.Version
	}
	for _, s := range sidecars() {
		module, _, _ := strings.Cut(s.pkg, "/cmd/")
		if pinned[module] != s.version {
			t.Errorf("%s is %s, and %s is pinned", s.program, s.version, pinned[module])
		}
	}
}

func TestArchiveName(t *testing.T) {
	if got := archiveName(registry + "agnhost:2.55"); got != "agnhost-2.55.tar" {
		t.Errorf("got %s", got)
	}
}
