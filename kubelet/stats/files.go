package stats

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// fileSystems asks the file systems of pods, of images and of the layers that
// containers write to, how full they are.
func (m *Meter) fileSystems(ctx context.Context) (*statsapi.FsStats, *statsapi.RuntimeStats, error) {
	root, err := statfs(m.o.RootDir)
	if err != nil {
		return nil, nil, err
	}
	info, err := m.o.Images.ImageFsInfo(ctx, &cri.ImageFsInfoRequest{})
	if err != nil {
		return nil, nil, fmt.Errorf("ask container runtime for its file systems: %w", err)
	}
	images, err := ofRuntime(info.ImageFilesystems, root)
	if err != nil {
		return nil, nil, err
	}
	layers, err := ofRuntime(info.ContainerFilesystems, images)
	if err != nil {
		return nil, nil, err
	}
	return root, &statsapi.RuntimeStats{ImageFs: images, ContainerFs: layers}, nil
}

// ofRuntime returns how full a file system of the runtime is, and how much of
// that is the runtime's. If it does not say, it is what it says of other.
func ofRuntime(used []*cri.FilesystemUsage, other *statsapi.FsStats) (*statsapi.FsStats, error) {
	if len(used) == 0 {
		return other, nil
	}
	s, err := statfs(used[0].GetFsId().GetMountpoint())
	if err != nil {
		return nil, err
	}
	if n := used[0].GetUsedBytes(); n != nil {
		s.UsedBytes = &n.Value
	}
	if n := used[0].GetInodesUsed(); n != nil {
		s.InodesUsed = &n.Value
	}
	return s, nil
}

// statfs asks the file system that a directory is on.
func statfs(dir string) (*statsapi.FsStats, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return nil, fmt.Errorf("ask file system of %s: %w", dir, err)
	}
	block := uint64(s.Bsize) //nolint:gosec // the kernel has no negative ones
	return &statsapi.FsStats{
		Time:           metav1.Now(),
		AvailableBytes: new(s.Bavail * block), CapacityBytes: new(s.Blocks * block), UsedBytes: new((s.Blocks - s.Bfree) * block),
		InodesFree: new(s.Ffree), Inodes: new(s.Files), InodesUsed: new(s.Files - s.Ffree),
	}, nil
}

// Filled is what a directory holds.
type filled struct {
	at     time.Time
	bytes  uint64
	inodes uint64
}

func (f filled) plus(o filled) filled {
	return filled{f.at, f.bytes + o.bytes, f.inodes + o.inodes}
}

// on returns how full a part of a file system is.
func (f filled) on(s *statsapi.FsStats) *statsapi.FsStats {
	out := statsapi.FsStats{Time: metav1.NewTime(f.at), UsedBytes: &f.bytes, InodesUsed: &f.inodes}
	if s != nil {
		out.AvailableBytes, out.CapacityBytes, out.Inodes, out.InodesFree = s.AvailableBytes, s.CapacityBytes, s.Inodes, s.InodesFree
	}
	return &out
}

// walk adds up what is in a directory, on its own file system: blocks as the
// disk has them, and each file once however many names it has. What goes
// meanwhile is not counted.
func walk(dir string) (filled, error) {
	total := filled{at: time.Now()}
	seen := map[uint64]bool{}
	var device uint64
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return skipGone(err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return skipGone(err)
		}
		if name == dir {
			device = st.Dev
		}
		if st.Dev != device {
			if d.IsDir() {
				return filepath.SkipDir // mounted here
			}
			return nil
		}
		if seen[st.Ino] {
			return nil
		}
		if st.Nlink > 1 && !d.IsDir() {
			seen[st.Ino] = true
		}
		total.bytes += uint64(st.Blocks) * 512 //nolint:gosec // never negative
		total.inodes++
		return nil
	})
	if err != nil {
		return filled{}, fmt.Errorf("add up %s: %w", dir, err)
	}
	return total, nil
}

func skipGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// recent is for how long what a directory holds is not added up again.
const recent = time.Minute

// fill of a directory, as of a while ago at most.
func (m *Meter) held(dir string, age time.Duration) (filled, error) {
	m.mu.Lock()
	was, ok := m.filled[dir]
	m.mu.Unlock()
	if ok && time.Since(was.at) < age {
		return was, nil
	}
	now, err := walk(dir)
	if err != nil {
		return now, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for d, f := range m.filled {
		if time.Since(f.at) > 2*recent {
			delete(m.filled, d) // nobody asks any more
		}
	}
	m.filled[dir] = now
	return now, nil
}
