package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// host is what the engine's configuration depends on.
type host struct {
	systemd     bool // PID 1 is systemd
	unified     bool // cgroup v2 is the only hierarchy
	sysResource bool // CAP_SYS_RESOURCE: oom_score_adj may be lowered
	overlay     bool // overlayfs can be mounted below the engine's directory
}

// systemdCgroup reports whether systemd is to make control groups, as asked for. If
// nothing is, it follows the kubelet's advice: two masters of one hierarchy do
// not get along, so on v2 under systemd its driver is used. On v1 the driver
// brings nothing but slower starts. Where there is no systemd it makes none.
func (h host) systemdCgroup(driver string) bool {
	switch driver {
	case "cgroupfs":
		return false
	case "systemd":
		return h.systemd
	default:
		return h.systemd && h.unified
	}
}

func (h host) snapshotter() string {
	if h.overlay {
		return "overlayfs"
	}
	return "native"
}

// oomScore makes the kernel kill containers before the engine, where we may.
func (h host) oomScore() int {
	if h.sysResource {
		return -999
	}
	return 0
}

// lookAround finds out about this host. It mounts and unmounts an overlay below
// dir, since only trying tells whether that works there.
func lookAround(dir string) (host, error) {
	caps, err := effectiveCaps("/proc/self/status")
	if err != nil {
		return host{}, err
	}
	overlay, err := overlayWorks(dir)
	if err != nil {
		return host{}, err
	}
	init, err := os.ReadFile("/proc/1/comm")
	if err != nil {
		return host{}, fmt.Errorf("look at the first process: %w", err)
	}
	var fs unix.Statfs_t
	cgroup := unix.Statfs("/sys/fs/cgroup", &fs)
	return host{
		systemd:     string(init) == "systemd\n",
		unified:     cgroup == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC,
		sysResource: caps&(1<<unix.CAP_SYS_RESOURCE) != 0,
		overlay:     overlay,
	}, nil
}

// effectiveCaps reads the capability set of proc_pid_status(5).
func effectiveCaps(path string) (uint64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			if err != nil {
				return 0, fmt.Errorf("read capabilities: %w", err)
			}
			return caps, nil
		}
	}
	return 0, fmt.Errorf("read capabilities: no CapEff in %s", path)
}

// overlayWorks tries an overlay with its upper directory below dir: the kernel
// may lack overlayfs, and dir may itself be on one.
func overlayWorks(dir string) (works bool, err error) {
	tmp, err := os.MkdirTemp(dir, ".overlay-")
	if err != nil {
		return false, fmt.Errorf("try overlayfs: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(tmp, d), 0o700); err != nil {
			return false, fmt.Errorf("try overlayfs: %w", err)
		}
	}
	merged := filepath.Join(tmp, "merged")
	opts := fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", tmp, tmp, tmp)
	if unix.Mount("overlay", merged, "overlay", 0, opts) != nil {
		return false, nil
	}
	if err := unix.Unmount(merged, 0); err != nil {
		return false, fmt.Errorf("unmount the overlay tried: %w", err)
	}
	return true, nil
}
