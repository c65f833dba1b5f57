package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Recipe says what an image consists of.
type Recipe struct {
	Name    string // in full, with registry and tag
	Root    Tree   // the root file system
	Config  v1.Config
	Created time.Time
}

// Image builds the image for this machine's architecture. All of the root file
// system is one layer, since each layer costs the engine a snapshot, and the
// images have nothing to share.
func (r Recipe) Image() (v1.Image, error) {
	layer, err := newLayer(r.Root, r.Created)
	if err != nil {
		return nil, fmt.Errorf("build layer of %s: %w", r.Name, err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err = mutate.ConfigFile(base, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH,
		Created: v1.Time{Time: r.Created.UTC()}, Config: r.Config,
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", r.Name, err)
	}
	img, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{
		Created: v1.Time{Time: r.Created.UTC()}, CreatedBy: "boot images",
	}})
	if err != nil {
		return nil, fmt.Errorf("append layer to %s: %w", r.Name, err)
	}
	return img, nil
}

// A zlayer is a layer compressed with zstd, held in memory: it is compressed
// once, though its digest, its size and its bytes are asked for one by one.
type zlayer struct {
	diffID v1.Hash // of the uncompressed tar
	data   []byte
}

func newLayer(t Tree, mtime time.Time) (v1.Layer, error) {
	var buf bytes.Buffer
	zw, err := Compress(&buf, LayerWindow)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	if err := t.WriteTar(io.MultiWriter(zw, sum), mtime); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	diffID := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return partial.CompressedToLayer(zlayer{diffID: diffID, data: buf.Bytes()})
}

func (l zlayer) Digest() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(l.data))
	return h, err
}

func (l zlayer) DiffID() (v1.Hash, error) { return l.diffID, nil }

func (l zlayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.data)), nil
}

func (l zlayer) Size() (int64, error) { return int64(len(l.data)), nil }

func (zlayer) MediaType() (types.MediaType, error) { return types.OCILayerZStd, nil }
