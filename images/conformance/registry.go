package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"boot.internal/images/pack"
)

// fakeRegistry is the directory that agnhost's fake-registry-server serves: the
// image pause under the tag testing, in the layout of the distribution project.
func fakeRegistry(archive string) (pack.Tree, error) {
	files, err := readArchive(archive)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", archive, err)
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		return nil, fmt.Errorf("parse index of %s: %w", archive, err)
	}
	if len(index.Manifests) != 1 {
		return nil, fmt.Errorf("%s has %d images, want one", archive, len(index.Manifests))
	}
	manifest := index.Manifests[0].Digest.Hex
	const dir = "var/registry/pause/"
	var tree pack.Tree
	add := func(kind, digest string, body []byte) {
		tree = append(tree, pack.Entry{Path: dir + kind + "/sha256/" + digest[:2] + "/" + digest + "/data", Mode: 0o644, Body: body})
	}
	for name, body := range files {
		digest, ok := strings.CutPrefix(name, "blobs/sha256/")
		switch {
		case ok && digest == manifest:
			add("manifests", digest, body)
		case ok:
			add("blobs", digest, body)
		}
	}
	sum := sha256.Sum256(files["index.json"])
	top := hex.EncodeToString(sum[:])
	add("manifests", top, files["index.json"])
	return append(tree, pack.Text(dir+"manifests/testing", "sha256:"+top+"\n")), nil
}

// readArchive returns the files of an OCI archive by name.
func readArchive(name string) (map[string][]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	files := map[string][]byte{}
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			return nil, err
		}
	}
}
