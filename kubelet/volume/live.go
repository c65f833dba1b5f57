package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A Filled keeps who may write the files of a pod, and which of its volumes
// were filled by this process. The zero value is ready.
type filled struct {
	mu   sync.Mutex // guards pods
	pods map[types.UID]*filledPod
}

// A filledPod is locked by whoever makes, fills or removes volumes with files
// of one pod.
type filledPod struct {
	sync.Mutex
	volumes map[string]bool // by name
}

// of returns what is kept of a pod.
func (f *filled) of(uid types.UID) *filledPod {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pods == nil {
		f.pods = map[types.UID]*filledPod{}
	}
	p := f.pods[uid]
	if p == nil {
		p = &filledPod{volumes: map[string]bool{}}
		f.pods[uid] = p
	}
	return p
}

// forget drops what is kept of a pod, once nobody fills its volumes, and keeps
// others from that until done is called: they find nothing to fill then.
func (f *filled) forget(uid types.UID) (done func()) {
	mine := f.of(uid)
	mine.Lock()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pods, uid)
	return mine.Unlock
}

// fill makes a volume of files and returns its path. A volume that this process
// has filled stays as it is where its content cannot be had any more: a
// container may be started again with it, and Refresh says what is wrong.
func (v *Volumes) fill(ctx context.Context, p *v1.Pod, vol *v1.Volume) (string, error) {
	mine := v.filled.of(p.UID)
	mine.Lock()
	defer mine.Unlock()
	dir := v.path(p.UID, plugin(&vol.VolumeSource), vol.Name)
	files, err := v.content(ctx, p, vol)
	if err != nil {
		if mine.volumes[vol.Name] {
			v.Logger.LogAttrs(ctx, slog.LevelDebug, "volume stays as it is", slog.String("path", dir), slog.Any("err", err))
			return dir, nil
		}
		return "", err
	}
	if err := makeDir(dir, fsGroup(p)); err != nil {
		return "", err
	}
	if secretive(&vol.VolumeSource) {
		if err := mountMemory(dir, fsGroup(p), v.memorySize(p, &v1.EmptyDirVolumeSource{})); err != nil {
			return "", err
		}
	}
	if err := publish(dir, files, fsGroup(p), nested(p, vol.Name)); err != nil {
		return "", err
	}
	mine.volumes[vol.Name] = true
	return dir, nil
}

// Refresh brings the files in the volumes of p up to date: those of its
// metadata, and those that come from the API. Volumes that are not made yet, or
// not any more, are left alone. The error tells of each volume that could not
// follow; it keeps what it has.
func (v *Volumes) Refresh(ctx context.Context, p *v1.Pod) error {
	var failed []error
	for i := range p.Spec.Volumes {
		vol := &p.Spec.Volumes[i]
		if plugin(&vol.VolumeSource) == "" {
			continue
		}
		if err := v.refresh(ctx, p, vol); err != nil {
			failed = append(failed, setUpError(vol.Name, err))
		}
	}
	return errors.Join(failed...)
}

func (v *Volumes) refresh(ctx context.Context, p *v1.Pod, vol *v1.Volume) error {
	if err := errors.Join(checkElement(string(p.UID)), checkElement(vol.Name)); err != nil {
		return err
	}
	dir := v.path(p.UID, plugin(&vol.VolumeSource), vol.Name)
	if !isFilled(dir) {
		return nil
	}
	mine := v.filled.of(p.UID)
	mine.Lock()
	defer mine.Unlock()
	if !isFilled(dir) { // it was removed meanwhile
		return nil
	}
	files, err := v.content(ctx, p, vol)
	if err != nil {
		return err
	}
	if err := publish(dir, files, fsGroup(p), nested(p, vol.Name)); err != nil {
		return err
	}
	mine.volumes[vol.Name] = true
	return nil
}

// isFilled reports whether a volume was filled, by this process or an earlier
// one.
func isFilled(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, dataLink))
	return err == nil
}

// Live reports whether volumes of p hold files that may have to follow
// something.
func Live(p *v1.Pod) bool {
	for i := range p.Spec.Volumes {
		if plugin(&p.Spec.Volumes[i].VolumeSource) != "" {
			return true
		}
	}
	return false
}

// setUpError says what is wrong with a volume in upstream's words.
func setUpError(name string, err error) error {
	return fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", name, err)
}
