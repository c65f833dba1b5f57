package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"boot.internal/atomicfile"
)

// imports remembers what archives hold, so that one need not be read again to
// find that the engine already has all of it. It says nothing about the engine:
// that is asked each time.
type imports struct {
	path string

	mu    sync.Mutex
	files map[string]imported
}

// imported is an archive as it was when it was imported.
type imported struct {
	Size     int64                    `json:"size"`
	Modified time.Time                `json:"modified"`
	Images   map[string]digest.Digest `json:"images"`
}

func (o Options) importsPath() string { return filepath.Join(o.Dir, "engine", "imports.json") }

// readImports returns what is remembered. A memory that makes no sense is as
// good as none: it only saves work.
func readImports(path string) (*imports, error) {
	known := &imports{path: path, files: map[string]imported{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which archives are imported: %w", err)
	}
	if json.Unmarshal(data, &known.files) != nil {
		known.files = map[string]imported{}
	}
	return known, nil
}

// images returns the archive's images if it is known and has not changed.
func (k *imports) images(path string, fi os.FileInfo) map[string]digest.Digest {
	k.mu.Lock()
	defer k.mu.Unlock()
	f, ok := k.files[path]
	if !ok || f.Size != fi.Size() || !f.Modified.Equal(fi.ModTime()) {
		return nil
	}
	return f.Images
}

func (k *imports) add(path string, fi os.FileInfo, images []archived) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := imported{Size: fi.Size(), Modified: fi.ModTime(), Images: map[string]digest.Digest{}}
	for _, im := range images {
		f.Images[im.name] = im.target.Digest
	}
	k.files[path] = f
	data, err := json.MarshalIndent(k.files, "", "  ")
	if err != nil {
		return fmt.Errorf("note which archives are imported: %w", err)
	}
	return atomicfile.Write(k.path, append(data, '\n'), 0o644)
}
