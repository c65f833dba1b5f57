package numa

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// sysfsOf writes a machine as the kernel does: a line "cpu 0 core 0 socket 0", which
// may end in "cache 3:7:0-3" (level, number, by whom it is shared), a line "node 0 cpus
// 0-3 kib 1024 far 10,21 pages 2048:4".
func sysfsOf(t *testing.T, online, text string) fstest.MapFS {
	t.Helper()
	sys := fstest.MapFS{"devices/system/cpu/online": {Data: []byte(online + "\n")}}
	write := func(data, name string, in ...any) {
		sys[fmt.Sprintf("devices/system/"+name, in...)] = &fstest.MapFile{Data: []byte(data + "\n")}
	}
	var nodes []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		for n := 2; n+1 < len(f); n += 2 {
			at, value := f[0]+"/"+f[0]+f[1], f[n+1]
			one, other, _ := strings.Cut(value, ":")
			switch f[n] {
			case "core":
				write(value, "%s/topology/core_id", at)
			case "socket":
				write(value, "%s/topology/physical_package_id", at)
			case "cache":
				id, by, _ := strings.Cut(other, ":")
				write(one, "%s/cache/index%d/level", at, n)
				write(id, "%s/cache/index%d/id", at, n)
				write(by, "%s/cache/index%d/shared_cpu_list", at, n)
			case "cpus":
				nodes = append(nodes, f[1])
				write(strings.TrimSuffix(value, "-"), "%s/cpulist", at)
			case "kib":
				write("Node 0 MemFree: 1 kB\nNode 0 MemTotal:  "+value+" kB", "%s/meminfo", at)
			case "far":
				write(strings.ReplaceAll(value, ",", " "), "%s/distance", at)
			case "pages":
				write(other, "%s/hugepages/hugepages-%skB/nr_hugepages", at, one)
			default:
				t.Fatalf("%s is not known", f[n])
			}
		}
	}
	if nodes != nil {
		write(strings.Join(nodes, ","), "node/online")
	}
	return sys
}

func TestDiscover(t *testing.T) {
	for name, test := range map[string]struct {
		online, text string
		want         *Machine
	}{
		"cores are called after their first thread, though sockets number theirs alike": {"0-3,8", `
			cpu 0 core 0 socket 0
			cpu 1 core 0 socket 1
			cpu 2 core 0 socket 0
			cpu 3 core 0 socket 1
			cpu 8 core 1 socket 1
			node 0 cpus 0,2 kib 1024 far 10,21 pages 2048:4 pages 1048576:0
			node 1 cpus 1,3,8 kib 2048 far 21,10`, &Machine{
			CPUs: []CPU{{ID: 0}, {1, 1, 1, 1, 1}, {ID: 2}, {3, 1, 1, 1, 1}, {8, 8, 1, 1, 1}},
			Nodes: []Node{
				{0, 1 << 20, map[uint64]uint64{2 << 20: 4, 1 << 30: 0}, []int{10, 21}},
				{1, 2 << 20, map[uint64]uint64{}, []int{21, 10}},
			},
		}},
		"a CPU that is offline, or of which nothing is told, is none": {"0,2", `
			cpu 0 core 0 socket 0
			cpu 1 core 0 socket 0
			cpu 2 core 1
			node 0 cpus 0-2`, &Machine{CPUs: []CPU{{}}, Nodes: []Node{{Pages: map[uint64]uint64{}}}}},
		"without NUMA there is one node": {"0-1", `
			cpu 0 core 0 socket 0
			cpu 1 core 1 socket 0`, &Machine{CPUs: []CPU{{}, {ID: 1, Core: 1}}, Nodes: []Node{{Pages: map[uint64]uint64{}}}}},
		"a node may be memory alone, and numbers may be left out": {"0", `
			cpu 0 core 0 socket 0
			node 0 cpus 0 far 10,17
			node 2 cpus - kib 4 far 17,10`, &Machine{CPUs: []CPU{{}}, Nodes: []Node{
			{Pages: map[uint64]uint64{}, Distances: []int{10, 17}},
			{ID: 2, Memory: 4096, Pages: map[uint64]uint64{}, Distances: []int{17, 10}},
		}}},
		"a cache counts that some of a node share": {"0-3", `
			cpu 0 core 0 socket 0 cache 1:0:0 cache 2:0:0 cache 3:5:0-1
			cpu 1 core 1 socket 0 cache 2:1:1 cache 3:5:0-1
			cpu 2 core 2 socket 0 cache 3:6:2-3 cache 4:9:0-3
			cpu 3 core 3 socket 0 cache 4:9:0-3 cache 3:6:2-3
			node 0 cpus 0-3`, &Machine{
			CPUs:  []CPU{{Cache: 5}, {1, 1, 0, 0, 5}, {2, 2, 0, 0, 6}, {3, 3, 0, 0, 6}},
			Nodes: []Node{{Pages: map[uint64]uint64{}}},
		}},
		"one of the whole node does not": {"0-1", `
			cpu 0 core 0 socket 3 cache 3:5:0-1
			cpu 1 core 1 socket 3 cache 3:5:0-1
			node 0 cpus 0-1`, &Machine{
			CPUs: []CPU{{Socket: 3, Cache: 3}, {1, 1, 3, 0, 3}}, Nodes: []Node{{Pages: map[uint64]uint64{}}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Discover(sysfsOf(t, test.online, test.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDiscoverNothing(t *testing.T) {
	for want, sys := range map[string]fstest.MapFS{
		"could not detect number of cpus":        sysfsOf(t, "0", ""),
		"devices/system/cpu/online":              {},
		"NUMA node 64: there may be 64":          sysfsOf(t, "0", "node 64 cpus 0"),
		"cpu0/topology/core_id: strconv":         sysfsOf(t, "0", "cpu 0 core x socket 0"),
		"read devices/system/node/node0/cpulist": sysfsOf(t, "0", "node 0 cpus x"),
	} {
		if got, err := Discover(sys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v; want %s", got, err, want)
		}
	}
}

func TestMachine(t *testing.T) {
	m := &Machine{Nodes: []Node{{ID: 0}, {ID: 2}}}
	if got := m.All(); got != NodesOf(0, 2) {
		t.Error(got)
	}
}
