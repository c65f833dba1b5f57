package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A Usage is what the processes of a group, and of the groups in it, have used.
type Usage struct {
	Time   time.Time // when it was read
	CPU    time.Duration
	Memory Memory
}

// Memory is what a group has in memory, in bytes where nothing else is said.
type Memory struct {
	Usage        uint64
	WorkingSet   uint64 // Usage without what can be dropped at once: files not used lately
	RSS          uint64 // what belongs to no file
	Cache        uint64 // what belongs to files
	MappedFile   uint64
	ActiveFile   uint64
	InactiveFile uint64
	Kernel       uint64
	Swap         uint64
	Faults       uint64 // page faults since the group was made
	MajorFaults  uint64 // of these, with a disk
	Limit        uint64 // 0: none
	SwapLimit    uint64 // of swap alone; 0: none, or there is no such limit
}

// tree returns the hierarchy that has a controller.
func (c *Cgroups) tree(controller string) (hierarchy, bool) {
	for _, h := range c.trees {
		if h.has[controller] {
			return h, true
		}
	}
	return hierarchy{}, false
}

// AllPods returns the group of all pods.
func (c *Cgroups) AllPods() string { return c.path(c.allPods()) }

// RootGroup returns the group that has all others of the node in it.
func (c *Cgroups) RootGroup() string { return c.path(c.root()) }

// PodGroup returns the group of a pod, of whatever class it is; false where it
// has none.
func (c *Cgroups) PodGroup(uid types.UID) (string, bool) {
	for _, class := range classes() {
		if group := c.path(c.podName(class, uid)); c.there(group) {
			return group, true
		}
	}
	return "", false
}

// Below returns the groups that are directly in a group.
func (c *Cgroups) Below(group string) []string {
	h, ok := c.tree("memory")
	if !ok {
		return nil
	}
	entries, _ := os.ReadDir(h.join(group)) // gone, nothing is in it
	var all []string
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, path.Join(group, e.Name()))
		}
	}
	return all
}

// there reports whether a group is where usage is read.
func (c *Cgroups) there(group string) bool {
	h, ok := c.tree("memory")
	return ok && isDir(h.join(group))
}

// Processes returns the IDs of the processes in a group and in those below it.
func (c *Cgroups) Processes(group string) []int {
	h, ok := c.tree("memory")
	if !ok {
		return nil
	}
	var all []int
	_ = filepath.WalkDir(h.join(group), func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // what goes meanwhile has no processes
		}
		for _, text := range processes(dir) {
			if pid, err := strconv.Atoi(text); err == nil {
				all = append(all, pid)
			}
		}
		return nil
	})
	return all
}

// Usage reads what a group has used. The error is fs.ErrNotExist for a group
// that is not there.
func (c *Cgroups) Usage(group string) (Usage, error) {
	u := Usage{Time: time.Now()}
	cpu, err := c.cpuTime(group)
	if err != nil {
		return u, fmt.Errorf("read CPU time of %s: %w", group, err)
	}
	u.CPU = cpu
	if u.Memory, err = c.memory(group); err != nil {
		return u, fmt.Errorf("read memory of %s: %w", group, err)
	}
	return u, nil
}

func (c *Cgroups) cpuTime(group string) (time.Duration, error) {
	if h, ok := c.tree("cpuacct"); ok {
		n, err := readNumber(filepath.Join(h.join(group), "cpuacct.usage"))
		return time.Duration(n), err
	}
	h, err := c.unified()
	if err != nil {
		return 0, err
	}
	stat, err := readTable(filepath.Join(h.join(group), "cpu.stat"))
	return time.Duration(stat["usage_usec"]) * time.Microsecond, err
}

var errNoHierarchy = errors.New("no cgroup hierarchy has it")

// unified returns the hierarchy of version 2.
func (c *Cgroups) unified() (hierarchy, error) {
	for _, h := range c.trees {
		if h.unified {
			return h, nil
		}
	}
	return hierarchy{}, errNoHierarchy
}

func (c *Cgroups) memory(group string) (Memory, error) {
	h, ok := c.tree("memory")
	if !ok {
		return Memory{}, errNoHierarchy
	}
	stat, err := readTable(filepath.Join(h.join(group), "memory.stat"))
	if err != nil {
		return Memory{}, err
	}
	if h.unified {
		return memoryV2(h.join(group), stat)
	}
	return memoryV1(h.join(group), stat)
}

func memoryV1(dir string, stat map[string]uint64) (Memory, error) {
	usage, err := readNumber(filepath.Join(dir, "memory.usage_in_bytes"))
	if err != nil {
		return Memory{}, err
	}
	m := Memory{
		Usage: usage, WorkingSet: less(usage, stat["total_inactive_file"]),
		RSS: stat["total_rss"], Cache: stat["total_cache"], MappedFile: stat["total_mapped_file"],
		ActiveFile: stat["total_active_file"], InactiveFile: stat["total_inactive_file"], Swap: stat["total_swap"],
		Faults: stat["total_pgfault"], MajorFaults: stat["total_pgmajfault"],
	}
	m.Limit, _ = readNumber(filepath.Join(dir, "memory.limit_in_bytes"))       // the root has none
	m.Kernel, _ = readNumber(filepath.Join(dir, "memory.kmem.usage_in_bytes")) // newer kernels do not say
	both, _ := readNumber(filepath.Join(dir, "memory.memsw.limit_in_bytes"))   // not on every kernel
	m.Limit, both = unlimitedIsNone(m.Limit), unlimitedIsNone(both)
	if both > 0 {
		m.SwapLimit = less(both, m.Limit)
	}
	return m, nil
}

func memoryV2(dir string, stat map[string]uint64) (Memory, error) {
	usage, err := readNumber(filepath.Join(dir, "memory.current"))
	swap, _ := readNumber(filepath.Join(dir, "memory.swap.current")) // not without swap
	if errors.Is(err, fs.ErrNotExist) && isRoot(dir) {
		usage, swap, err = memoryOfMachine()
	}
	if err != nil {
		return Memory{}, err
	}
	m := Memory{
		Usage: usage, WorkingSet: less(usage, stat["inactive_file"]),
		RSS: stat["anon"], Cache: stat["file"], MappedFile: stat["file_mapped"],
		ActiveFile: stat["active_file"], InactiveFile: stat["inactive_file"], Kernel: stat["kernel"], Swap: swap,
		Faults: stat["pgfault"], MajorFaults: stat["pgmajfault"],
	}
	m.Limit, _ = readNumber(filepath.Join(dir, "memory.max"))          // the root has none
	m.SwapLimit, _ = readNumber(filepath.Join(dir, "memory.swap.max")) // neither
	return m, nil
}

// isRoot reports whether a directory is the root of the whole machine's
// hierarchy, which alone does not say of which type it is.
func isRoot(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cgroup.type"))
	return errors.Is(err, fs.ErrNotExist)
}

// memoryOfMachine returns what is in use of all the memory and swap there is.
func memoryOfMachine() (usage, swap uint64, err error) {
	info, err := readTable("/proc/meminfo")
	const unit = 1 << 10
	return less(info["MemTotal:"], info["MemFree:"]) * unit, less(info["SwapTotal:"], info["SwapFree:"]) * unit, err
}

// unlimitedIsNone returns 0 for what version 1 says where there is no limit: all
// that fits in a number of 63 bits, give or take a page.
func unlimitedIsNone(n uint64) uint64 {
	if n >= 1<<62 {
		return 0
	}
	return n
}

// less returns a − b, or 0 where b is more: two files are not read at once.
func less(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

// readNumber reads a file that holds a number, or "max", which is none.
func readNumber(name string) (uint64, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(data))
	if text == "max" || text == "-1" {
		return 0, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// readTable reads a file of lines that each hold a name and a number.
func readTable(name string) (map[string]uint64, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	table := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
			table[f[0]] = n
		}
	}
	return table, nil
}
