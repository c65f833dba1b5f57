package node

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// A Machine is where to look for what the hardware has.
type Machine struct {
	Root string // of /proc, /sys and /etc; "" is "/"
	Dir  string // on the file system that pods use: /var/lib/kubelet
}

// Facts are what the machine has and is.
type Facts struct {
	Cores     int64
	Memory    int64            // bytes
	Storage   int64            // bytes
	HugePages map[string]int64 // bytes by page size, such as "2Mi"
	Info      v1.NodeSystemInfo
}

// Facts looks at the machine. What could be found out is returned with the
// error.
func (m Machine) Facts() (Facts, error) {
	cores, cpuErr := m.cores()
	mem, memErr := m.meminfo()
	storage, diskErr := m.storage()
	f := Facts{
		Cores: cores, Memory: mem["MemTotal"], Storage: storage, HugePages: m.hugePages(),
		Info: m.info(),
	}
	if swap := mem["SwapTotal"]; swap > 0 {
		f.Info.Swap = &v1.NodeSwapStatus{Capacity: &swap}
	}
	return f, errors.Join(cpuErr, memErr, diskErr)
}

func (m Machine) path(p string) string { return filepath.Join("/", m.Root, p) }

// text returns the trimmed content of a file, "" if there is none.
func (m Machine) text(path string) string {
	data, err := os.ReadFile(m.path(path))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(data))
}

// cores counts the processors that are online: "0-3,6".
func (m Machine) cores() (int64, error) {
	var n int64
	for part := range strings.SplitSeq(m.text("sys/devices/system/cpu/online"), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.ParseInt(first, 10, 64)
		b, errB := strconv.ParseInt(last, 10, 64)
		if errA != nil || errB != nil || b < a {
			return 0, fmt.Errorf("count processors: unknown range %q", part)
		}
		n += b - a + 1
	}
	return n, nil
}

// meminfo returns /proc/meminfo in bytes.
func (m Machine) meminfo() (map[string]int64, error) {
	f, err := os.Open(m.path("proc/meminfo"))
	if err != nil {
		return nil, fmt.Errorf("measure memory: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	sizes := map[string]int64{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		if fields := strings.Fields(rest); len(fields) == 2 && fields[1] == "kB" {
			n, err := strconv.ParseInt(fields[0], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("measure memory: %s: %w", name, err)
			}
			sizes[name] = n << 10
		}
	}
	if sizes["MemTotal"] == 0 {
		return nil, errors.New("measure memory: no MemTotal in /proc/meminfo")
	}
	return sizes, nil
}

// hugePages returns the bytes set aside for each size of page: the directories
// are called hugepages-2048kB.
func (m Machine) hugePages() map[string]int64 {
	dirs, _ := filepath.Glob(m.path("sys/kernel/mm/hugepages/hugepages-*kB")) // the pattern is fine
	pages := map[string]int64{}
	for _, dir := range dirs {
		text := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(dir), "hugepages-"), "kB")
		size, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			continue
		}
		count, err := os.ReadFile(filepath.Join(dir, "nr_hugepages"))
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(count)), 10, 64)
		if err != nil {
			continue
		}
		pages[resource.NewQuantity(size<<10, resource.BinarySI).String()] = n * size << 10
	}
	return pages
}

func (m Machine) storage() (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(m.Dir, &fs); err != nil {
		return 0, fmt.Errorf("measure file system of %s: %w", m.Dir, err)
	}
	return int64(fs.Blocks) * fs.Bsize, nil
}

// info says what the machine is.
func (m Machine) info() v1.NodeSystemInfo {
	id := m.text("etc/machine-id")
	if id == "" {
		id = m.text("var/lib/dbus/machine-id")
	}
	uuid := strings.ToLower(m.text("sys/class/dmi/id/product_uuid"))
	if uuid == "" { // no firmware to ask
		uuid = id
	}
	return v1.NodeSystemInfo{
		MachineID: id, SystemUUID: uuid,
		BootID:          m.text("proc/sys/kernel/random/boot_id"),
		KernelVersion:   m.text("proc/sys/kernel/osrelease"),
		OSImage:         m.osImage(),
		OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH,
		RunningInUserNamespace: new(m.inUserNamespace()),
	}
}

// inUserNamespace reports whether this is root of a user namespace alone: the first
// of all has every user under its own number (user_namespaces(7)).
func (m Machine) inUserNamespace() bool {
	users := strings.Fields(m.text("proc/self/uid_map"))
	return len(users) > 0 && !slices.Equal(users, []string{"0", "0", "4294967295"})
}

func (m Machine) osImage() string {
	release := m.text("etc/os-release")
	if release == "" {
		release = m.text("usr/lib/os-release")
	}
	for line := range strings.Lines(release) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return "Linux"
}

// defaultIP returns the address others reach this machine by: that of the
// default route, else the first that is not of this machine alone. It is invalid if
// there is none.
func defaultIP() netip.Addr {
	if ip, err := utilnet.ChooseHostInterface(); err == nil {
		if a, ok := netip.AddrFromSlice(ip); ok {
			return a.Unmap()
		}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}
