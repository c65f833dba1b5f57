package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Detail is what else is known of a group, beside its Usage. What the host
// does not tell is zero.
type Detail struct {
	User, System time.Duration // CPU time in programs, and in the kernel for them

	Shares        uint64        // CPU weight, as version 1 counts
	Quota, Period time.Duration // of CPU time; no quota is 0
	Periods       uint64        // that have passed with a quota
	Throttled     uint64        // of these, in which it was used up
	ThrottledFor  time.Duration

	MemoryPeak  uint64 // the most bytes in use
	MemoryFails uint64 // times that the limit was hit
	OOMKills    uint64
	MemoryHighs uint64 // times that it was throttled for its memory; version 2 alone
	MemoryMaxes uint64 // times that its limit held it back; version 2 alone
	MemoryLow   uint64 // bytes that are taken from it last, when memory is short

	Tasks     uint64 // processes and threads
	TaskLimit uint64 // 0: none

	Disks []Disk // in no order
}

// A Disk is what went to and from a block device.
type Disk struct {
	Major, Minor  uint64
	Reads, Writes uint64 // operations
	Read, Written uint64 // bytes
}

// tick is the unit of CPU time that the kernel shows to programs, which is the
// same on all architectures that Go knows.
const tick = 10 * time.Millisecond

// Detail reads what else is known of a group.
func (c *Cgroups) Detail(group string) Detail {
	var d Detail
	if _, ok := c.tree("cpuacct"); ok {
		c.detailV1(group, &d)
	} else if h, err := c.unified(); err == nil {
		detailV2(h.join(group), &d)
	}
	if h, ok := c.tree("memory"); ok {
		memoryDetail(h, h.join(group), &d)
	}
	if h, ok := c.tree("pids"); ok {
		d.Tasks = number(h.join(group), "pids.current")
		d.TaskLimit = number(h.join(group), "pids.max")
	}
	if h, ok := c.tree("blkio"); ok {
		d.Disks = disksV1(h.join(group))
	} else if h, ok := c.tree("io"); ok {
		d.Disks = disksV2(h.join(group))
	}
	return d
}

// number and table read what a host may not tell.
func number(dir, file string) uint64 {
	n, _ := readNumber(filepath.Join(dir, file))
	return n
}

func table(dir, file string) map[string]uint64 {
	t, _ := readTable(filepath.Join(dir, file))
	return t
}

func (c *Cgroups) detailV1(group string, d *Detail) {
	h, _ := c.tree("cpuacct")
	times := table(h.join(group), "cpuacct.stat")
	d.User, d.System = time.Duration(times["user"])*tick, time.Duration(times["system"])*tick
	cpu, ok := c.tree("cpu")
	if !ok {
		return
	}
	dir := cpu.join(group)
	stat := table(dir, "cpu.stat")
	d.Periods, d.Throttled, d.ThrottledFor = stat["nr_periods"], stat["nr_throttled"], time.Duration(stat["throttled_time"])
	d.Shares = number(dir, "cpu.shares")
	d.Quota = time.Duration(number(dir, "cpu.cfs_quota_us")) * time.Microsecond
	d.Period = time.Duration(number(dir, "cpu.cfs_period_us")) * time.Microsecond
}

func detailV2(dir string, d *Detail) {
	stat := table(dir, "cpu.stat")
	d.User, d.System = micro(stat["user_usec"]), micro(stat["system_usec"])
	d.Periods, d.Throttled, d.ThrottledFor = stat["nr_periods"], stat["nr_throttled"], micro(stat["throttled_usec"])
	if weight := number(dir, "cpu.weight"); weight > 0 {
		d.Shares = sharesOfWeight(weight)
	}
	data, _ := os.ReadFile(filepath.Join(dir, "cpu.max")) // the root has none
	if f := strings.Fields(string(data)); len(f) == 2 {
		quota, _ := strconv.ParseUint(f[0], 10, 64) // "max" is none
		period, _ := strconv.ParseUint(f[1], 10, 64)
		d.Quota, d.Period = micro(quota), micro(period)
	}
}

func micro(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }

func memoryDetail(h hierarchy, dir string, d *Detail) {
	if h.unified {
		events := table(dir, "memory.events")
		d.MemoryPeak, d.MemoryFails, d.OOMKills = number(dir, "memory.peak"), events["max"], events["oom_kill"]
		d.MemoryHighs, d.MemoryMaxes, d.MemoryLow = events["high"], events["max"], number(dir, "memory.min")
		return
	}
	d.MemoryPeak = number(dir, "memory.max_usage_in_bytes")
	d.MemoryFails = number(dir, "memory.failcnt")
	d.OOMKills = table(dir, "memory.oom_control")["oom_kill"]
	d.MemoryLow = unlimitedIsNone(number(dir, "memory.soft_limit_in_bytes"))
}

// disksV1 reads lines such as "8:0 Read 4096".
func disksV1(dir string) []Disk {
	all := map[[2]uint64]*Disk{}
	for file, field := range map[string]func(d *Disk) (read, write *uint64){
		"blkio.throttle.io_service_bytes_recursive": func(d *Disk) (read, write *uint64) { return &d.Read, &d.Written },
		"blkio.throttle.io_serviced_recursive":      func(d *Disk) (read, write *uint64) { return &d.Reads, &d.Writes },
	} {
		data, _ := os.ReadFile(filepath.Join(dir, file)) // not every kernel has it
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) != 3 {
				continue // the total
			}
			read, write := field(diskAt(all, f[0]))
			switch n, _ := strconv.ParseUint(f[2], 10, 64); f[1] {
			case "Read":
				*read = n
			case "Write":
				*write = n
			}
		}
	}
	return listed(all)
}

// disksV2 reads lines such as "8:0 rbytes=4096 wbytes=0 rios=1 wios=0".
func disksV2(dir string) []Disk {
	all := map[[2]uint64]*Disk{}
	data, _ := os.ReadFile(filepath.Join(dir, "io.stat")) // the root has none
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		d := diskAt(all, f[0])
		to := map[string]*uint64{"rbytes": &d.Read, "wbytes": &d.Written, "rios": &d.Reads, "wios": &d.Writes}
		for _, pair := range f[1:] {
			name, text, _ := strings.Cut(pair, "=")
			if n := to[name]; n != nil {
				*n, _ = strconv.ParseUint(text, 10, 64)
			}
		}
	}
	return listed(all)
}

func diskAt(all map[[2]uint64]*Disk, device string) *Disk {
	left, right, _ := strings.Cut(device, ":")
	major, _ := strconv.ParseUint(left, 10, 64)
	minor, _ := strconv.ParseUint(right, 10, 64)
	at := [2]uint64{major, minor}
	if all[at] == nil {
		all[at] = &Disk{Major: major, Minor: minor}
	}
	return all[at]
}

func listed(all map[[2]uint64]*Disk) []Disk {
	var out []Disk
	for _, d := range all {
		out = append(out, *d)
	}
	return out
}
