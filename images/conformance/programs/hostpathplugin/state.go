package main

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A driver answers all calls, one at a time.
type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	o options

	mu        sync.Mutex
	volumes   map[string]*volume
	snapshots map[string]*snapshot
}

// A volume is a directory, or a file if it has blocks.
type volume struct {
	id, name  string
	size      int64 // bytes
	block     bool
	ephemeral bool
	source    *csi.VolumeContentSource
	params    map[string]string

	attached  bool
	staged    string          // where, if it is
	published map[string]bool // where it is
	loop      string          // the device of its blocks, while there is one
}

// A snapshot is a copy of a volume's data.
type snapshot struct {
	id, name, volume string
	size             int64 // bytes
	block            bool
	taken            time.Time
}

// path is where the data of a volume or snapshot is.
func (d *driver) path(id string) string { return filepath.Join(d.o.dir, id) }

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it does not fail
	return hex.EncodeToString(b[:])
}

// volume returns a volume by its ID, or an error of the kind that the
// specification wants.
func (d *driver) volume(id string) (*volume, error) {
	if id == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume ID")
	}
	v, ok := d.volumes[id]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no volume %s", id)
	}
	return v, nil
}

// add makes a volume, with a copy of what is at source, if that is not empty.
func (d *driver) add(v *volume, source string) error {
	v.published = map[string]bool{}
	path := d.path(v.id)
	if err := d.fill(v, path, source); err != nil {
		_ = os.RemoveAll(path)
		return status.Errorf(codes.Internal, "make volume %s: %v", v.id, err)
	}
	d.volumes[v.id] = v
	return nil
}

func (d *driver) fill(v *volume, path, source string) error {
	if v.block {
		if source != "" {
			if err := copyData(source, path); err != nil {
				return err
			}
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // its size is all that was set
		return f.Truncate(v.size)
	}
	if err := os.Mkdir(path, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o777); err != nil {
		return err
	}
	if source == "" {
		return nil
	}
	return copyData(source+"/.", path)
}

// copyData copies a file, or what is in a directory, with owners and modes.
func copyData(from, to string) error {
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	if err != nil {
		return status.Errorf(codes.Internal, "copy %s: %v: %s", from, err, out)
	}
	return nil
}

// remove forgets a volume with its data.
func (d *driver) remove(v *volume) error {
	if err := v.release(); err != nil {
		return err
	}
	if err := os.RemoveAll(d.path(v.id)); err != nil {
		return err
	}
	delete(d.volumes, v.id)
	return nil
}
