package stats

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/cgroup"
)

// system measures what runs pods, by name: this process, and the one that
// listens at the socket of the runtime. Both are measured as processes: they may
// share their group with each other or with the whole machine.
func (m *Meter) system() map[string]cgroup.Usage {
	all := map[string]cgroup.Usage{}
	if u, err := process(os.Getpid()); err == nil {
		all[statsapi.SystemContainerKubelet] = u
	}
	if pid, err := peer(m.o.Endpoint); err == nil {
		if u, err := process(pid); err == nil {
			all[statsapi.SystemContainerRuntime] = u
		}
	}
	return all
}

// systemContainers returns what runs pods, and all pods together.
func (m *Meter) systemContainers(s *sample) []statsapi.ContainerStats {
	var all []statsapi.ContainerStats
	for _, name := range []string{statsapi.SystemContainerKubelet, statsapi.SystemContainerRuntime} {
		if u, ok := s.system[name]; ok {
			all = append(all, statsapi.ContainerStats{
				Name: name, StartTime: metav1.NewTime(m.o.Started), CPU: m.cpuOf(name, &u), Memory: memoryOf(&u),
			})
		}
	}
	pods := statsapi.ContainerStats{
		Name: statsapi.SystemContainerPods, StartTime: metav1.NewTime(m.o.Started),
		CPU: m.cpuOf(m.o.AllPods, &s.allPods), Memory: memoryOf(&s.allPods),
	}
	if !s.allPods.Time.IsZero() {
		all = append(all, pods)
	}
	return all
}

// peer returns the process that listens at a socket.
func peer(endpoint string) (int, error) {
	path := strings.TrimPrefix(endpoint, "unix://")
	conn, err := net.DialTimeout("unix", path, askWithin) // it is there at once, or not at all
	if err != nil {
		return 0, err
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	pid := 0
	control := raw.Control(func(fd uintptr) {
		var who *unix.Ucred
		if who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(who.Pid)
		}
	})
	if control != nil {
		return 0, control
	}
	return pid, err
}

// tick is the unit of CPU time in /proc/…/stat, which is the same on all
// architectures that Go knows.
const tick = 10 * time.Millisecond

// process measures one process, with all that it waited for.
func process(pid int) (cgroup.Usage, error) {
	u := cgroup.Usage{Time: time.Now()}
	name := fmt.Sprintf("/proc/%d/stat", pid)
	data, err := os.ReadFile(name)
	if err != nil {
		return u, err
	}
	_, after, _ := strings.Cut(string(data), ") ") // its name may have spaces in it
	f := strings.Fields(after)
	if len(f) < 22 {
		return u, fmt.Errorf("read %s: %d fields", name, len(f))
	}
	n := func(field int) uint64 { // as proc(5) counts
		v, _ := strconv.ParseUint(f[field-3], 10, 64) // the kernel writes numbers
		return v
	}
	u.CPU = time.Duration(n(14)+n(15)) * tick //nolint:gosec // centuries fit
	u.Memory.Faults, u.Memory.MajorFaults = n(10), n(12)
	u.Memory.RSS = n(24) * uint64(os.Getpagesize()) //nolint:gosec // never negative
	u.Memory.Usage, u.Memory.WorkingSet = u.Memory.RSS, u.Memory.RSS
	return u, nil
}
