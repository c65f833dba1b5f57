package evict

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// unlimited is more memory than anything has. What version 1 gives for no limit
// is not far below it.
const unlimited = math.MaxInt64

// memory returns what is left of the memory of the node: all of it, but for what
// is in use and could not be given back at once. What is set aside for huge pages
// is nothing that others could be left (HugepageAwareEviction).
func (h Host) memory() (Level, error) {
	total, err := fields(h.proc("meminfo"), "MemTotal:", "Hugetlb:")
	if err != nil {
		return Level{}, err
	}
	g, err := measure(h.Memory)
	if err != nil {
		return Level{}, err
	}
	capacity := (total["MemTotal:"] - total["Hugetlb:"]) << 10
	return Level{Available: capacity - g.working, Capacity: capacity}, nil
}

// podMemory returns what all pods have left of their limit, if there is one.
func (h Host) podMemory() (l Level, limited bool, err error) {
	if h.PodMemory == "" {
		return Level{}, false, nil
	}
	g, err := measure(h.PodMemory)
	if errors.Is(err, fs.ErrNotExist) {
		return Level{}, false, nil // no pod ran yet
	}
	if err != nil || g.limit > unlimited>>1 {
		return Level{}, false, err
	}
	return Level{Available: g.limit - g.working, Capacity: g.limit}, true, nil
}

// A group is the memory of one control group, in bytes.
type group struct {
	usage   int64
	working int64 // usage without what the kernel gives up first
	limit   int64
}

// measure looks at a control group of whatever version.
func measure(dir string) (group, error) {
	stat, err := fields(filepath.Join(dir, "memory.stat"), "total_inactive_file", "inactive_file", "anon", "file")
	if err != nil {
		return group{}, err
	}
	g := group{limit: unlimited}
	inactive, version1 := stat["total_inactive_file"]
	limit, usage := "memory.limit_in_bytes", "memory.usage_in_bytes"
	if !version1 {
		inactive, limit, usage = stat["inactive_file"], "memory.max", "memory.current"
	}
	g.usage, err = number(filepath.Join(dir, usage))
	if errors.Is(err, fs.ErrNotExist) && !version1 { // the root of version 2 has no such file
		g.usage, err = stat["anon"]+stat["file"], nil
	}
	if err != nil {
		return group{}, err
	}
	g.working = max(g.usage-inactive, 0)
	if n, err := number(filepath.Join(dir, limit)); err == nil {
		g.limit = n
	}
	return g, nil
}

// fields reads those of names that a file has, with a name and a number on each line.
func fields(path string, names ...string) (map[string]int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("measure memory: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	found := map[string]int64{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, rest, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		i := slices.IndexFunc(names, func(n string) bool { return n == string(name) })
		if i < 0 {
			continue
		}
		number, _, _ := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" ")) // a unit may follow
		if n, err := strconv.ParseInt(string(number), 10, 64); err == nil {
			found[names[i]] = n
		}
	}
	return found, nil
}
