package csi

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// names of what is kept on disk, which are upstream's.
const (
	podPlugin  = "kubernetes.io~csi"
	dataFile   = "vol_data.json"
	globalDir  = "globalmount"
	mountDir   = "mount"
	devicesDir = "volumeDevices"
)

// A record is vol_data.json: what must be known to take a volume back.
type record struct {
	SpecVolID           string `json:"specVolID,omitempty"` // the name of the PersistentVolume, or of the volume in its pod
	VolumeHandle        string `json:"volumeHandle"`
	DriverName          string `json:"driverName"`
	NodeName            string `json:"nodeName,omitempty"`
	AttachmentID        string `json:"attachmentID,omitempty"`
	VolumeLifecycleMode string `json:"volumeLifecycleMode,omitempty"`
	SELinuxMountContext string `json:"seLinuxMountContext,omitempty"`
}

// key names the volume whatever pods use it.
func (r record) key() string { return r.DriverName + "^" + r.VolumeHandle }

// unique returns the name that the attach-detach controller has for the volume.
func (r record) unique() v1.UniqueVolumeName {
	return v1.UniqueVolumeName("kubernetes.io/csi/" + r.key())
}

// save writes the record into dir, which it makes.
func (r record) save(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// A rename, so that it is never seen half-written. Nothing is synced: after a
	// power cut nothing is mounted.
	fresh := filepath.Join(dir, "."+dataFile)
	if err := os.WriteFile(fresh, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(dir, dataFile))
}

// load reads the record in dir.
func load(dir string) (record, error) {
	var r record
	data, err := os.ReadFile(filepath.Join(dir, dataFile))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read %s: %w", filepath.Join(dir, dataFile), err)
	}
	if r.DriverName == "" || r.VolumeHandle == "" {
		return r, fmt.Errorf("%s names no volume", filepath.Join(dir, dataFile))
	}
	return r, nil
}

// forget removes the record in dir, and dir.
func forget(dir string) error {
	for _, path := range []string{filepath.Join(dir, "."+dataFile), filepath.Join(dir, dataFile), dir} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// attachmentName returns the name of the VolumeAttachment of a volume.
func attachmentName(handle, driver, node string) string {
	return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(handle+driver+node)))
}

// inlineHandle returns the handle of a volume that lives and dies with a pod.
func inlineHandle(uid types.UID, name string) string {
	return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(string(uid)+name)))
}

// escape makes a name one element of a path, as upstream does.
func escape(name string) string { return strings.ReplaceAll(name, "/", "~") }

// stageDir returns where the record of a staged volume is.
func (d *Drivers) stageDir(driver, handle string) string {
	return filepath.Join(d.pluginDir(), driver, fmt.Sprintf("%x", sha256.Sum256([]byte(handle))))
}

// publishDir returns where the record of a published volume is.
func (d *Drivers) publishDir(uid types.UID, name string) string {
	return filepath.Join(d.podsDir(), string(uid), "volumes", podPlugin, escape(name))
}

// A published volume is one that a pod has, as the disk tells.
type published struct {
	record
	uid   types.UID
	dir   string // of its record
	block bool
}

// publishedTo returns the volumes of a pod. A directory without a record is no
// volume: nothing was asked of a driver before there was one.
func (d *Drivers) publishedTo(uid types.UID) ([]published, error) {
	var all []published
	for _, kind := range []struct {
		dir   string
		block bool
	}{{"volumes", false}, {devicesDir, true}} {
		parent := filepath.Join(d.podsDir(), string(uid), kind.dir, podPlugin)
		entries, err := os.ReadDir(parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			dir := filepath.Join(parent, e.Name())
			if kind.block {
				dir = filepath.Join(d.pluginDir(), devicesDir, e.Name(), "data")
			}
			r, err := load(dir)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all = append(all, published{record: r, uid: uid, dir: dir, block: kind.block})
		}
	}
	return all, nil
}

// everywhere returns the published volumes of all pods. One whose records cannot
// be read is in nobody's way but its own, when it ends.
func (d *Drivers) everywhere() ([]published, error) {
	entries, err := os.ReadDir(d.podsDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []published
	for _, e := range entries {
		if of, err := d.publishedTo(types.UID(e.Name())); err == nil {
			all = append(all, of...)
		}
	}
	return all, nil
}

// A staged volume is one that a driver has made ready on the node.
type staged struct {
	record
	dir   string // of its record
	block bool
}

// path returns where the driver has staged the volume.
func (s staged) path(d *Drivers) string {
	if s.block {
		return filepath.Join(d.pluginDir(), devicesDir, "staging", s.SpecVolID)
	}
	return filepath.Join(s.dir, globalDir)
}

// allStaged returns the volumes that are staged.
func (d *Drivers) allStaged() ([]staged, error) {
	dirs, err := filepath.Glob(filepath.Join(d.pluginDir(), "*", "*", dataFile))
	if err != nil {
		return nil, err
	}
	blocks, err := filepath.Glob(filepath.Join(d.pluginDir(), devicesDir, "*", "data", dataFile))
	if err != nil {
		return nil, err
	}
	var all []staged
	for i, path := range append(dirs, blocks...) {
		r, err := load(filepath.Dir(path))
		if err != nil { // it is nobody's volume that could be named
			d.o.Log.Warn("read what is staged", slog.String("path", path), slog.Any("err", err))
			continue
		}
		block := i >= len(dirs)
		if block {
			r.SpecVolID = filepath.Base(filepath.Dir(filepath.Dir(path)))
		}
		all = append(all, staged{record: r, dir: filepath.Dir(path), block: block})
	}
	return all, nil
}
