package evict

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Host is where to look for what is left. All of it is read from files of the
// kernel and costs next to nothing.
type Host struct {
	Root string // of /proc; "" is "/"

	// Memory and PodMemory are the directories of the control groups of the whole
	// node and of all pods, in the hierarchy that has memory. "" is unknown.
	Memory, PodMemory string

	// Node, Images and Containers are directories on the file systems of volumes
	// and logs, of images, and of writable layers. "" is that of the node.
	Node, Images, Containers string
}

// Layout finds out which of the file systems are the same.
func (h Host) Layout() (Layout, error) {
	var devices [3]uint64
	for i, dir := range []string{h.Node, h.images(), h.containers()} {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return Layout{}, fmt.Errorf("look at file system of %s: %w", dir, err)
		}
		devices[i] = st.Dev
	}
	images := devices[1] != devices[0]
	return Layout{Images: images, Containers: images && devices[2] != devices[1]}, nil
}

func (h Host) images() string {
	if h.Images == "" {
		return h.Node
	}
	return h.Images
}

func (h Host) containers() string {
	if h.Containers == "" {
		return h.images()
	}
	return h.Containers
}

// Look returns what is left of everything that could be seen, and why the rest
// could not.
func (h Host) Look() (Levels, error) {
	seen := Levels{}
	var failed []error
	put := func(s Signal, l Level, err error) {
		if err == nil {
			seen[s] = l
		}
		failed = append(failed, err)
	}
	node, err := h.memory()
	put(MemoryAvailable, node, err)
	if pods, limited, err := h.podMemory(); limited || err != nil {
		put(AllocatableMemoryAvailable, pods, err)
	}
	processes, err := h.processes()
	put(PIDAvailable, processes, err)
	for _, d := range []struct {
		dir              string
		available, nodes Signal
	}{
		{h.Node, NodeFSAvailable, NodeFSInodesFree},
		{h.images(), ImageFSAvailable, ImageFSInodesFree},
		{h.containers(), ContainerFSAvailable, ContainerFSInodesFree},
	} {
		size, nodes, err := disk(d.dir)
		put(d.available, size, err)
		put(d.nodes, nodes, err)
	}
	return seen, errors.Join(failed...)
}

// disk returns bytes and inodes of the file system of a directory.
func disk(dir string) (size, nodes Level, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return size, nodes, fmt.Errorf("measure file system of %s: %w", dir, err)
	}
	return Level{Available: int64(fs.Bavail) * fs.Bsize, Capacity: int64(fs.Blocks) * fs.Bsize},
		Level{Available: int64(fs.Ffree), Capacity: int64(fs.Files)}, nil
}

func (h Host) proc(name string) string { return filepath.Join("/", h.Root, "proc", name) }

// processes counts what runs, threads among it as upstream does.
func (h Host) processes() (Level, error) {
	most, err := number(h.proc("sys/kernel/pid_max"))
	if err != nil {
		return Level{}, err
	}
	if threads, err := number(h.proc("sys/kernel/threads-max")); err == nil {
		most = min(most, threads)
	}
	data, err := os.ReadFile(h.proc("loadavg")) // "0.20 0.18 0.12 1/80 11206"
	if err != nil {
		return Level{}, fmt.Errorf("count processes: %w", err)
	}
	fields := strings.Fields(string(data))
	if len(fields) < 4 {
		return Level{}, fmt.Errorf("count processes: unknown load %q", data)
	}
	_, all, _ := strings.Cut(fields[3], "/")
	n, err := strconv.ParseInt(all, 10, 64)
	if err != nil {
		return Level{}, fmt.Errorf("count processes: %w", err)
	}
	return Level{Available: most - n, Capacity: most}, nil
}

// number reads a file of one number.
func number(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", filepath.Base(path), err)
	}
	text := string(bytes.TrimSpace(data))
	if text == "max" {
		return unlimited, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}
