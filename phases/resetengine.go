package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"

	"boot.internal/hint"
	"boot.internal/process"
)

// killTimeout bounds waiting for processes that were killed.
const killTimeout = 30 * time.Second

// A stopEngine ends boot's own engine, and what still runs of its containers
// when the pods have been stopped: an engine that is dead stops none.
type stopEngine struct {
	own    OwnEngine // nil: the engine of somebody else
	strays func() ([]process.ID, error)
}

// Plan implements Phase.
func (s stopEngine) Plan(context.Context) ([]Change, error) {
	if s.own == nil {
		return nil, nil
	}
	running, err := s.own.Running()
	if err != nil {
		return nil, err
	}
	shims, err := s.own.Shims()
	if err != nil {
		return nil, err
	}
	left, err := s.strays()
	if err != nil {
		return nil, err
	}
	switch {
	case running || len(shims) > 0:
		return []Change{{"stop the container engine, and what still runs of its containers", s.stop}}, nil
	case len(left) > 0:
		return []Change{{fmt.Sprintf("kill what still runs of the pods: %d processes", len(left)), s.kill}}, nil
	}
	return nil, nil
}

func (s stopEngine) stop(ctx context.Context) error {
	if err := s.kill(ctx); err != nil {
		return err
	}
	return s.own.Stop(ctx)
}

// kill ends the processes, and those that they started meanwhile.
func (s stopEngine) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	for {
		left, err := s.strays()
		if err != nil || len(left) == 0 {
			return err
		}
		for _, id := range left {
			if err := id.Signal(syscall.SIGKILL); err != nil {
				return err
			}
		}
		for _, id := range left {
			if err := id.Wait(ctx); err != nil {
				return fmt.Errorf("wait for pid %d to end: %w", id.PID, err)
			}
		}
	}
}

// strays returns the processes in the control groups of pods, if it is boot
// that made them.
func (r reset) strays() ([]process.ID, error) {
	if ran, err := r.ran(); err != nil || !ran {
		return nil, err
	}
	var dirs []string
	for _, group := range r.Cgroups {
		in, err := cgroupDirs(group.Name)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, in...)
	}
	var all []process.ID
	seen := map[process.ID]bool{{PID: os.Getpid()}: true}
	for _, dir := range dirs {
		ids, err := processesIn(dir)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if !seen[id] {
				seen[id] = true
				all = append(all, id)
			}
		}
	}
	return all, nil
}

// cgroupDirs returns the directories that a control group has, one in each
// hierarchy that has it.
func cgroupDirs(name string) ([]string, error) {
	const root = "/sys/fs/cgroup"
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	var dirs []string
	for _, m := range mounts {
		if m.Mountpoint != root && !strings.HasPrefix(m.Mountpoint, root+"/") {
			continue // somebody else's, such as a container's
		}
		if dir := filepath.Join(m.Mountpoint, name); exists(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// processesIn returns the processes in a control group and in those below.
func processesIn(dir string) ([]process.ID, error) {
	var all []process.ID
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return ignoreMissing(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			if errors.Is(err, syscall.ENODEV) { // the group has just been removed
				return nil
			}
			return ignoreMissing(err)
		}
		for field := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return fmt.Errorf("read %s: %w", path, err)
			}
			if id, err := process.Of(pid); err == nil {
				all = append(all, id)
			}
		}
		return nil
	})
	return all, err
}

// cgroups removes the groups. Where the engine is somebody else's, processes in
// them are of containers that it has not removed.
func (r reset) cgroups(context.Context) ([]Change, error) {
	if ran, err := r.ran(); err != nil || !ran {
		return nil, err
	}
	var changes []Change
	for _, group := range r.Cgroups {
		dirs, err := cgroupDirs(group.Name)
		if err != nil {
			return nil, err
		}
		if len(dirs) == 0 {
			continue
		}
		changes = append(changes, Change{"remove control group " + group.Name, func(context.Context) error {
			if err := group.Clean(); err != nil {
				return hint.With(err, "end the processes in it, and run 'boot reset' again")
			}
			return nil
		}})
	}
	return changes, nil
}
