package cgroup

import (
	"path/filepath"
)

// A Kernel is what the control groups of the host can do for containers.
type Kernel struct {
	Unified bool // memory is limited by version 2
	Swap    bool // swap can be limited
}

// KernelAt finds that out at a mount point; "" is /sys/fs/cgroup.
func KernelAt(mountpoint string) (Kernel, error) {
	if mountpoint == "" {
		mountpoint = defaultMountpoint
	}
	trees, err := detect(mountpoint)
	if err != nil {
		return Kernel{}, err
	}
	return kernelOf(trees), nil
}

func kernelOf(trees []hierarchy) Kernel {
	var k Kernel
	for _, h := range trees {
		if !h.has["memory"] {
			continue
		}
		k.Unified = h.unified
		file := "memory.memsw.limit_in_bytes"
		if h.unified {
			file = filepath.Join("*", "memory.swap.max") // the group above all has none
		}
		found, err := filepath.Glob(h.join(file))
		k.Swap = err == nil && len(found) > 0
	}
	return k
}
