package stats

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// An Interface is what went through a network interface.
type Interface struct {
	Name           string
	Received, Sent Traffic
}

// Traffic is what went one way, since the interface came up.
type Traffic struct{ Bytes, Packets, Errors, Dropped uint64 }

// interfaces reads /proc/…/net/dev, but for those that are only the other end
// of something else.
func interfaces(name string) []Interface {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil // the process is gone
	}
	var all []Interface
	for line := range bytes.Lines(data) {
		name, rest, ok := strings.Cut(strings.TrimSpace(string(line)), ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 16 || inward(name) {
			continue
		}
		all = append(all, Interface{name, traffic(f), traffic(f[8:])})
	}
	return all
}

func inward(name string) bool {
	return name == "lo" || strings.HasPrefix(name, "veth") || strings.HasPrefix(name, "docker")
}

func traffic(fields []string) Traffic {
	n := func(i int) uint64 {
		v, _ := strconv.ParseUint(fields[i], 10, 64) // the kernel writes numbers
		return v
	}
	return Traffic{Bytes: n(0), Packets: n(1), Errors: n(2), Dropped: n(3)}
}

// defaultInterface is the name that pods have for their network.
const defaultInterface = "eth0"

// networkOf returns what went through the network that a file of /proc tells
// of. The first interface stands for all where none has the usual name.
func networkOf(file string, at time.Time) *statsapi.NetworkStats {
	all := interfaces(file)
	if len(all) == 0 {
		return nil
	}
	n := &statsapi.NetworkStats{Time: metav1.NewTime(at)}
	for i := range all {
		n.Interfaces = append(n.Interfaces, statsapi.InterfaceStats{
			Name: all[i].Name, RxBytes: &all[i].Received.Bytes, RxErrors: &all[i].Received.Errors,
			TxBytes: &all[i].Sent.Bytes, TxErrors: &all[i].Sent.Errors,
		})
	}
	usual := slices.IndexFunc(n.Interfaces, func(s statsapi.InterfaceStats) bool { return s.Name == defaultInterface })
	n.InterfaceStats = n.Interfaces[max(usual, 0)]
	return n
}

// processLimit returns how many processes there are, and how many there may be.
func processLimit(at time.Time) *statsapi.RlimitStats {
	r := &statsapi.RlimitStats{Time: metav1.NewTime(at)}
	for _, file := range []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"} {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && (r.MaxPID == nil || n < *r.MaxPID) {
			r.MaxPID = &n
		}
	}
	data, err := os.ReadFile("/proc/loadavg") // "0.20 0.18 0.12 1/80 11206"
	if err != nil {
		return r
	}
	if f := strings.Fields(string(data)); len(f) > 3 {
		_, total, _ := strings.Cut(f[3], "/")
		if n, err := strconv.ParseInt(total, 10, 64); err == nil {
			r.NumOfRunningProcesses = &n
		}
	}
	return r
}

// descriptors returns how many files a process has open, and how many of these are
// sockets. One that is gone has none.
func descriptors(pid int) (files, sockets int) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if to, _ := os.Readlink(filepath.Join(dir, e.Name())); strings.HasPrefix(to, "socket:") {
			sockets++
		}
	}
	return len(entries), sockets
}

// openFiles returns how many files a process may have open at a time, -1 for any
// number; false if it is gone.
func openFiles(pid int) (limit float64, ok bool) {
	data, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "limits"))
	for line := range strings.Lines(string(data)) {
		rest, found := strings.CutPrefix(line, "Max open files")
		f := strings.Fields(rest)
		switch {
		case !found || len(f) == 0:
			continue
		case f[0] == "unlimited":
			return -1, true
		}
		n, err := strconv.ParseFloat(f[0], 64)
		return n, err == nil
	}
	return 0, false
}
