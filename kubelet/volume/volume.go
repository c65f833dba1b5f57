// Package volume materialises the volumes of pods on disk and removes them,
// with everything else in a pod's directory, once the pod is gone.
//
// It decides where a volume lies, who may read it and when its content is
// replaced; what is mounted where in a container is left to its callers.
package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/volume/csi"
	"boot.internal/kubelet/volume/turn"
)

// Options are what Volumes need to know of the node.
type Options struct {
	PodsDir     string                 // holds one directory for each pod, named by UID
	Allocatable func() v1.ResourceList // what pods may use of the node; nil while nothing is known
	Logger      *slog.Logger           // told what is removed at start-up

	// What volumes are filled with from the API; nil where there is none.
	Objects      Objects
	Tokens       Tokens
	Bundles      Bundles
	Certificates Certificates

	// Client returns a client of the API, nil while there is none.
	Client func() kubernetes.Interface
	// CSI mounts volumes by drivers.
	CSI *csi.Drivers
	// Event records what happened to a pod. It must not block.
	Event func(p *v1.Pod, eventType, reason, message string)
}

// Volumes are the volumes of all pods of the node. The methods may be called
// from several goroutines, for one pod by one at a time.
type Volumes struct {
	Options
	filled filled
	turns  turn.Turns // by what a volume is made of
	kept   kept
	work   work
}

// New returns the volumes below o.PodsDir.
func New(o Options) *Volumes {
	if o.Allocatable == nil {
		o.Allocatable = func() v1.ResourceList { return nil }
	}
	return &Volumes{Options: o}
}

// Setup makes the volumes that containers of p mount and tells where they
// are, by volume name. It may be called again at any time: what is there is
// left alone, but for files that tell of the pod's metadata, which follow it.
func (v *Volumes) Setup(ctx context.Context, p *v1.Pod) (map[string]pod.Volume, error) {
	if err := checkElement(string(p.UID)); err != nil {
		return nil, fmt.Errorf("set up volumes of %s: %w", pod.KeyOf(p), err)
	}
	// Even without volumes: what else is kept in it is for root alone, too.
	if err := os.MkdirAll(v.podDir(p.UID), 0o750); err != nil {
		return nil, fmt.Errorf("set up volumes of %s: %w", pod.KeyOf(p), err)
	}
	used := mounted(p)
	all := make(map[string]pod.Volume, len(used))
	var failed []error
	for i := range p.Spec.Volumes {
		vol := &p.Spec.Volumes[i]
		if !used[vol.Name] || vol.Image != nil { // images are the runtime's
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("set up volume %q: %w", vol.Name, err)
		}
		at, err := v.setup(ctx, p, vol)
		if errors.Is(err, csi.ErrLimit) { // the pod goes elsewhere, whatever else there is
			return nil, overLimit(vol.Name, used, all)
		}
		if err != nil {
			failed = append(failed, setUpError(vol.Name, err))
			continue
		}
		all[vol.Name] = at
	}
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	return all, nil
}

func (v *Volumes) setup(ctx context.Context, p *v1.Pod, vol *v1.Volume) (pod.Volume, error) {
	if err := checkElement(vol.Name); err != nil {
		return pod.Volume{}, err
	}
	if outlives(vol) {
		return v.once(ctx, p, vol)
	}
	path, err := v.local(ctx, p, vol)
	// What boot fills is for boot alone to write.
	return pod.Volume{Path: path, ReadOnly: plugin(&vol.VolumeSource) != ""}, err
}

// local makes a volume that nothing but this node is needed for.
func (v *Volumes) local(ctx context.Context, p *v1.Pod, vol *v1.Volume) (string, error) {
	switch src := vol.VolumeSource; {
	case src.HostPath != nil:
		return src.HostPath.Path, checkHostPath(src.HostPath)
	case src.EmptyDir != nil:
		return v.emptyDir(p, vol.Name, src.EmptyDir)
	case plugin(&src) != "":
		return v.fill(ctx, p, vol)
	default:
		return "", fmt.Errorf("volumes of kind %s are not supported", kind(src))
	}
}

// podDir returns the directory of a pod.
func (v *Volumes) podDir(uid types.UID) string { return filepath.Join(v.PodsDir, string(uid)) }

// path returns where a volume lies: where the upstream kubelet puts it, too.
func (v *Volumes) path(uid types.UID, plugin, name string) string {
	return filepath.Join(v.podDir(uid), volumesDir, "kubernetes.io~"+plugin, name)
}

// volumesDir and devicesDir are the directories of a pod's volumes, within its
// own.
const (
	volumesDir = "volumes"
	devicesDir = "volumeDevices"
)

// mounted returns the names of the volumes containers of p mount. Upstream
// leaves the others alone, whatever is wrong with them.
func mounted(p *v1.Pod) map[string]bool {
	used := make(map[string]bool)
	for _, c := range pod.Containers(p) {
		for _, m := range c.VolumeMounts {
			used[m.Name] = true
		}
		for _, d := range c.VolumeDevices {
			used[d.Name] = true
		}
	}
	return used
}

// checkElement refuses names that would lead a path anywhere but one level
// down. UIDs of static pods are whatever the user wrote.
func checkElement(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q cannot name a directory", name)
	}
	return nil
}

// fsGroup returns the group that is to own the pod's volumes, nil for none.
func fsGroup(p *v1.Pod) *int64 {
	if sc := p.Spec.SecurityContext; sc != nil {
		return sc.FSGroup
	}
	return nil
}

// makeDir makes the directory of a volume that any user of the pod may write,
// unless it is there: it appears complete, with owner and mode, or not at all.
func makeDir(path string, group *int64) error {
	if fi, err := os.Lstat(path); err == nil {
		if !fi.IsDir() {
			return fmt.Errorf("%s is not a directory", path)
		}
		return nil
	}
	// The directories above are for root alone: what lies in a world-writable
	// volume is no business of other users of the host.
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	fresh := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new") // no volume's name has a dot
	if err := os.Mkdir(fresh, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	mode := os.ModePerm
	if group != nil {
		if err := os.Lchown(fresh, -1, int(*group)); err != nil {
			return err
		}
		mode |= os.ModeSetgid // files made in it belong to the group
	}
	if err := os.Chmod(fresh, mode); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}
