package resize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/checksum"
)

// A checkpoint is a file of the kubelet's checkpoint manager.
type checkpoint struct {
	Data     string            `json:"data"` // entries, as JSON
	Checksum checksum.Checksum `json:"checksum"`
}

type entries struct {
	Entries map[types.UID]info `json:"entries,omitempty"`
}

// load reads a file of entries. One that is not there has none.
func load(path string) (map[types.UID]info, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[types.UID]info{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read allocations: %w", err)
	}
	var c checkpoint
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("read allocations from %s: %w", path, err)
	}
	if c.Checksum != checksum.Of(c.Data) {
		return nil, fmt.Errorf("read allocations from %s: its checksum is wrong", path)
	}
	var all entries
	if err := json.Unmarshal([]byte(c.Data), &all); err != nil {
		return nil, fmt.Errorf("read allocations from %s: %w", path, err)
	}
	if all.Entries == nil {
		all.Entries = map[types.UID]info{}
	}
	return all.Entries, nil
}

// encode returns a file of entries.
func encode(all map[types.UID]info) ([]byte, error) {
	data, err := json.Marshal(entries{all})
	if err != nil {
		return nil, fmt.Errorf("write allocations: %w", err)
	}
	text, err := json.Marshal(checkpoint{string(data), checksum.Of(string(data))})
	if err != nil {
		return nil, fmt.Errorf("write allocations: %w", err)
	}
	return text, nil
}
