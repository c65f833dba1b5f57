package numa

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"k8s.io/utils/cpuset"
)

const (
	cpuDir  = "devices/system/cpu"
	nodeDir = "devices/system/node"
)

// Discover reads what the machine is like from sysfs, whose root sys is: /sys. Where
// the kernel knows of no NUMA nodes all is one node, of number 0.
func Discover(sys fs.FS) (*Machine, error) {
	s := sysfs{sys}
	cpus, err := s.set(path.Join(cpuDir, "online"))
	if err != nil {
		return nil, err
	}
	m := &Machine{}
	home, err := s.nodes(m, cpus)
	if err != nil {
		return nil, err
	}
	for _, id := range cpus.List() {
		if err := s.addCPU(m, id, home[id]); err != nil {
			return nil, err
		}
	}
	if len(m.CPUs) == 0 {
		return nil, errors.New("could not detect number of cpus")
	}
	m.nameCores()
	m.nameCaches(s)
	return m, nil
}

// sysfs reads files of the kernel.
type sysfs struct{ fs fs.FS }

// line returns what a file says, without the end of the line.
func (s sysfs) line(name string) (string, error) {
	data, err := fs.ReadFile(s.fs, name)
	return strings.TrimSpace(string(data)), err
}

func (s sysfs) number(name string) (int, error) {
	line, err := s.line(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(line)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}

// set reads a list such as "0-3,8".
func (s sysfs) set(name string) (cpuset.CPUSet, error) {
	line, err := s.line(name)
	if err != nil {
		return cpuset.New(), err
	}
	all, err := cpuset.Parse(line)
	if err != nil {
		return all, fmt.Errorf("read %s: %w", name, err)
	}
	return all, nil
}

// nodes adds all nodes to a machine and returns on which of them each CPU is.
func (s sysfs) nodes(m *Machine, online cpuset.CPUSet) (home map[int]int, err error) {
	home = map[int]int{}
	all, err := s.set(path.Join(nodeDir, "online"))
	if errors.Is(err, fs.ErrNotExist) {
		m.Nodes = []Node{{Pages: s.pages("kernel/mm/hugepages")}}
		return home, nil
	}
	if err != nil {
		return nil, err
	}
	for _, id := range all.List() {
		if id >= MaxNodes {
			return nil, fmt.Errorf("NUMA node %d: there may be %d nodes at most", id, MaxNodes)
		}
		dir := path.Join(nodeDir, "node"+strconv.Itoa(id))
		cpus, err := s.set(path.Join(dir, "cpulist"))
		if err != nil {
			return nil, err
		}
		for _, cpu := range cpus.Intersection(online).UnsortedList() {
			home[cpu] = id
		}
		m.Nodes = append(m.Nodes, Node{ID: id, Memory: s.memory(dir), Pages: s.pages(path.Join(dir, "hugepages")), Distances: s.distances(dir)})
	}
	return home, nil
}

// memory reads "Node 0 MemTotal: 24684092 kB".
func (s sysfs) memory(dir string) uint64 {
	all, _ := s.line(path.Join(dir, "meminfo")) // not all kernels say
	for line := range strings.Lines(all) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == "MemTotal:" {
			kib, _ := strconv.ParseUint(f[3], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// pages reads how many huge pages of each size there are: hugepages-2048kB/nr_hugepages.
func (s sysfs) pages(dir string) map[uint64]uint64 {
	all := map[uint64]uint64{}
	sizes, _ := fs.ReadDir(s.fs, dir) // a kernel may have none
	for _, size := range sizes {
		var kib uint64
		n, err := s.number(path.Join(dir, size.Name(), "nr_hugepages"))
		if _, bad := fmt.Sscanf(size.Name(), "hugepages-%dkB", &kib); bad == nil && err == nil {
			all[kib<<10] = uint64(n)
		}
	}
	return all
}

// distances reads "10 21".
func (s sysfs) distances(dir string) []int {
	var all []int
	line, _ := s.line(path.Join(dir, "distance")) // not all kernels say
	for f := range strings.FieldsSeq(line) {
		d, err := strconv.Atoi(f)
		if err != nil {
			return nil
		}
		all = append(all, d)
	}
	return all
}

// addCPU adds a CPU to a machine, with its core as the socket numbers it. One whose
// core is not known is left out, as the kubelet does.
func (s sysfs) addCPU(m *Machine, id, node int) error {
	dir := path.Join(cpuDir, "cpu"+strconv.Itoa(id), "topology")
	core, err1 := s.number(path.Join(dir, "core_id"))
	socket, err2 := s.number(path.Join(dir, "physical_package_id"))
	err := errors.Join(err1, err2)
	if err == nil {
		m.CPUs = append(m.CPUs, CPU{ID: id, Core: core, Socket: socket, Node: node, Cache: socket})
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// nameCores has each core be called after its lowest CPU, since sockets number
// theirs each for itself.
func (m *Machine) nameCores() {
	type core struct{ node, socket, core int }
	first := map[core]int{}
	for n := range m.CPUs { // lowest first
		c := &m.CPUs[n]
		is := core{c.Node, c.Socket, c.Core}
		if _, known := first[is]; !known {
			first[is] = c.ID
		}
		c.Core = first[is]
	}
}

// nameCaches finds the caches that cores share with some, but not all, of their node.
func (m *Machine) nameCaches(s sysfs) {
	size := map[int]int{}
	for _, c := range m.CPUs {
		size[c.Node]++
	}
	for n := range m.CPUs {
		c := &m.CPUs[n]
		if id, ok := s.sharedCache(c.Core, size[c.Node]); ok {
			c.Cache = id
		}
	}
}

// sharedCache returns the cache of a CPU that is beyond the second level and not that
// of all CPUs of a node.
func (s sysfs) sharedCache(cpu, node int) (id int, ok bool) {
	dir := path.Join(cpuDir, "cpu"+strconv.Itoa(cpu), "cache")
	all, _ := fs.Glob(s.fs, dir+"/index[0-9]*") // the pattern is good; guests may have none
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	for _, c := range all {
		level, err1 := s.number(c + "/level")
		id, err2 := s.number(c + "/id")
		by, err3 := s.set(c + "/shared_cpu_list")
		if errors.Join(err1, err2, err3) == nil && level > 2 && by.Size() != node {
			return id, true
		}
	}
	return 0, false
}
