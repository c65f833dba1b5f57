package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"boot.internal/atomicfile"
	"boot.internal/process"
)

// record says which containerd boot started last. It lies in RunDir, so it
// does not outlive the host it is about.
type record struct {
	process.ID
	Exe    string `json:"exe"`
	Config string `json:"config"` // digest of the configuration it runs with
}

// readRecord returns the zero record if there is none worth believing.
func readRecord(path string) (record, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("read which engine runs: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("read which engine runs: %s: %w", path, err)
	}
	return r, nil
}

func (r record) write(path string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("note which engine runs: %w", err)
	}
	return atomicfile.Write(path, append(data, '\n'), 0o644)
}

// runs reports whether the recorded process is there and is that executable.
func (r record) runs() bool {
	exe, err := r.ID.Exe()
	return err == nil && exe == r.Exe
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
