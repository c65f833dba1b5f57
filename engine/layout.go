package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// jsonLimit is more than any index, manifest or image configuration has.
const jsonLimit = 8 << 20

// readIndex finds the images and what they are made of.
func (a *archive) readIndex() error {
	if !a.layout || a.index == nil {
		return errors.New("not an OCI image archive: no oci-layout or no index.json in it")
	}
	var idx ocispec.Index
	if err := json.Unmarshal(a.index, &idx); err != nil {
		return fmt.Errorf("read index.json: %w", err)
	}
	for _, m := range idx.Manifests {
		name := imageName(m.Annotations)
		if name == "" {
			return fmt.Errorf("index.json: manifest %s has no full image name in its annotations", m.Digest)
		}
		blobs, err := a.parts(m)
		if err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
		a.images = append(a.images, archived{name: name, target: m, blobs: blobs})
	}
	if len(a.images) == 0 {
		return errors.New("index.json lists no image")
	}
	return nil
}

// imageName returns the reference an image is known by. The OCI annotation may
// hold a bare tag, which names nothing.
func imageName(annotations map[string]string) string {
	if name := annotations[images.AnnotationImageName]; name != "" {
		return name
	}
	if name := annotations[ocispec.AnnotationRefName]; strings.Contains(name, "/") {
		return name
	}
	return ""
}

// parts lists desc and everything below it that this platform needs.
func (a *archive) parts(desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	all := []ocispec.Descriptor{desc}
	at, ok := a.blobs[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s is missing", desc.Digest)
	}
	if at.size != desc.Size {
		return nil, fmt.Errorf("blob %s has %d bytes and should have %d", desc.Digest, at.size, desc.Size)
	}
	children, err := a.children(desc)
	if err != nil {
		return nil, err
	}
	for _, c := range children {
		below, err := a.parts(c)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

func (a *archive) children(desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	switch {
	case images.IsManifestType(desc.MediaType):
		var m ocispec.Manifest
		if err := a.decode(desc, &m); err != nil {
			return nil, err
		}
		return append([]ocispec.Descriptor{m.Config}, m.Layers...), nil
	case images.IsIndexType(desc.MediaType):
		var idx ocispec.Index
		if err := a.decode(desc, &idx); err != nil {
			return nil, err
		}
		return thisPlatform(idx.Manifests)
	}
	return nil, nil
}

// thisPlatform returns the manifest that this host runs.
func thisPlatform(manifests []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	here := platforms.Default()
	var best *ocispec.Descriptor
	for i, m := range manifests {
		if m.Platform == nil || !here.Match(*m.Platform) {
			continue
		}
		if best == nil || here.Less(*m.Platform, *best.Platform) {
			best = &manifests[i]
		}
	}
	if best == nil {
		return nil, fmt.Errorf("nothing in it for %s", platforms.DefaultString())
	}
	return []ocispec.Descriptor{*best}, nil
}

func (a *archive) decode(desc ocispec.Descriptor, v any) error {
	if desc.Size > jsonLimit {
		return fmt.Errorf("blob %s is too large for %s", desc.Digest, desc.MediaType)
	}
	data, err := io.ReadAll(a.open(desc.Digest))
	if err != nil {
		return fmt.Errorf("read blob %s: %w", desc.Digest, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read blob %s as %s: %w", desc.Digest, desc.MediaType, err)
	}
	return nil
}
