package phases

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A hostView is a host to look at. Most of it is files, so that another host is
// but another directory.
type hostView struct {
	root     string // where its files are
	euid     int
	cpus     int
	now      func() time.Time
	lookPath func(program string) error
	resolve  func(ctx context.Context, name string) error
	free     func(path string) (uint64, error) // bytes on the disk that holds path
	writable func(path string) bool
	modprobe func(ctx context.Context, args ...string) error
}

// thisHost is the host we run on.
func thisHost() *hostView {
	return &hostView{
		root: "/", euid: os.Geteuid(), cpus: runtime.NumCPU(), now: time.Now,
		lookPath: func(program string) error {
			_, err := exec.LookPath(program)
			return err
		},
		resolve: func(ctx context.Context, name string) error {
			_, err := net.DefaultResolver.LookupHost(ctx, name)
			return err
		},
		free:     freeBytes,
		writable: func(path string) bool { return unix.Access(path, unix.W_OK) == nil },
		modprobe: func(ctx context.Context, args ...string) error {
			out, err := exec.CommandContext(ctx, "modprobe", args...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("modprobe %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
			}
			return nil
		},
	}
}

// freeBytes asks for the file system that path is or will be on.
func freeBytes(path string) (uint64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	for err == unix.ENOENT && path != "/" {
		path = filepath.Dir(path)
		err = unix.Statfs(path, &st)
	}
	if err != nil {
		return 0, fmt.Errorf("look for room at %s: %w", path, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

func (h *hostView) path(name string) string { return filepath.Join(h.root, name) }

// read returns the text of a file without the space around it.
func (h *hostView) read(name string) (string, error) {
	data, err := os.ReadFile(h.path(name))
	return strings.TrimSpace(string(data)), err
}

func (h *hostView) exists(name string) bool {
	_, err := os.Lstat(h.path(name))
	return err == nil
}
