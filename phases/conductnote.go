package phases

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"boot.internal/atomicfile"
	"boot.internal/certs"
	"boot.internal/hint"
)

// A rotationNote is what the node keeps that a rotation was begun on: until the
// control planes have the new keys, they are nowhere else.
type rotationNote struct {
	Rotation Rotation          `json:"rotation"`
	Keys     map[string][]byte `json:"keys"` // of the new authorities by name, PEM
}

func rotationNotePath(state string) string { return filepath.Join(state, "ca-rotation.json") }

// readRotationNote returns the note; nil if there is none. It quotes nothing of it:
// there are keys in it.
func readRotationNote(state string) (*rotationNote, error) {
	path := rotationNotePath(state)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := &rotationNote{}
	if json.Unmarshal(data, n) != nil || n.Rotation.ID == "" {
		return nil, hint.With(fmt.Errorf("%s is no note of a rotation", path), "remove it, if no rotation is under way; see 'boot status'")
	}
	return n, nil
}

// fits says whether a note that nobody has been told of yet is what would be written
// now.
func (n *rotationNote) fits(c conductor) (bool, error) {
	if n == nil || len(n.Rotation.Authorities) != len(c.Authorities) {
		return false, nil
	}
	for _, a := range n.Rotation.Authorities {
		files, err := c.pair(a.Name)
		if err != nil || !slices.Contains(c.Authorities, a.Name) {
			return false, err
		}
		now, err := os.ReadFile(files.Cert)
		if err != nil {
			return false, err
		}
		if !sameFirst(now, []byte(a.Old)) {
			return false, nil
		}
	}
	return true, nil
}

// sameFirst says whether two texts begin with the same certificate.
func sameFirst(a, b []byte) bool {
	first, _ := pem.Decode(a)
	other, _ := pem.Decode(b)
	return first != nil && other != nil && bytes.Equal(first.Bytes, other.Bytes)
}

// authorities makes the new ones, unless that is done.
func (c conductor) authorities(ctx context.Context) ([]Change, error) {
	told, err := c.told(ctx)
	if told != nil || err != nil {
		return nil, err
	}
	note, err := readRotationNote(c.State)
	if err != nil {
		return nil, err
	}
	if fits, err := note.fits(c); fits || err != nil {
		return nil, err
	}
	path := rotationNotePath(c.State)
	return []Change{{
		"make successors of the authorities " + strings.Join(c.Authorities, ", ") + ", and keep them in " + path,
		func(context.Context) error { return c.succeed(path) },
	}}, nil
}

func (c conductor) succeed(path string) error {
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never returns an error
	note := rotationNote{Rotation: Rotation{ID: hex.EncodeToString(id)}, Keys: map[string][]byte{}}
	for _, name := range c.Authorities {
		files, err := c.pair(name)
		if err != nil {
			return err
		}
		s, err := certs.Succeed(files, time.Now())
		if err != nil {
			return err
		}
		note.Rotation.Authorities = append(note.Rotation.Authorities, RotatedAuthority{
			Name: name, Old: string(s.Old), New: string(s.New), Cross: string(s.Cross),
		})
		note.Keys[name] = s.Key
	}
	data, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o600)
}
