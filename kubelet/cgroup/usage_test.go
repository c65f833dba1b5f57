package cgroup

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/types"
)

// files makes files below dir.
func files(t *testing.T, dir string, content map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(content)) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// versionOne are the hierarchies of version 1, beside an empty one of version 2.
func versionOne(t *testing.T) *Cgroups {
	t.Helper()
	dir := t.TempDir()
	files(t, dir, map[string]string{
		"cpuacct/kubepods/poda/cpuacct.usage":              "1500000000\n",
		"memory/kubepods/poda/memory.usage_in_bytes":       "1000\n",
		"memory/kubepods/poda/memory.limit_in_bytes":       "5000\n",
		"memory/kubepods/poda/memory.memsw.limit_in_bytes": "7000\n",
		"memory/kubepods/poda/memory.stat": "cache 1\ntotal_cache 300\ntotal_rss 600\ntotal_mapped_file 30\ntotal_swap 7\n" +
			"total_pgfault 11\ntotal_pgmajfault 2\ntotal_active_file 50\ntotal_inactive_file 250\n",
		"memory/kubepods/poda/one/cgroup.procs":                 "12\n13\n",
		"memory/kubepods/poda/cgroup.procs":                     "",
		"memory/kubepods/burstable/podb/cgroup.procs":           "",
		"memory/kubepods/besteffort/podc/memory.stat":           "total_inactive_file 9\n",
		"memory/kubepods/besteffort/podc/memory.usage_in_bytes": "4\n",
		"memory/kubepods/besteffort/podc/memory.limit_in_bytes": "9223372036854771712\n",
		"cpuacct/kubepods/besteffort/podc/cpuacct.usage":        "0\n",
	})
	return &Cgroups{trees: []hierarchy{
		{dir: dir + "/unified", unified: true, has: map[string]bool{}},
		{dir: dir + "/cpuacct", has: map[string]bool{"cpuacct": true}},
		{dir: dir + "/memory", has: map[string]bool{"memory": true}},
	}}
}

func TestUsageV1(t *testing.T) {
	c := versionOne(t)
	tests := map[string]Usage{
		"/kubepods/poda": {CPU: 1500 * time.Millisecond, Memory: Memory{
			Usage: 1000, WorkingSet: 750, RSS: 600, Cache: 300, MappedFile: 30, ActiveFile: 50, InactiveFile: 250,
			Swap: 7, Faults: 11, MajorFaults: 2, Limit: 5000, SwapLimit: 2000,
		}},
		// Without a limit, and with files read after one another.
		"/kubepods/besteffort/podc": {Memory: Memory{Usage: 4, InactiveFile: 9}},
	}
	for group, want := range tests {
		got, err := c.Usage(group)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Usage{}, "Time")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", group, diff)
		}
	}
	if _, err := c.Usage("/kubepods/gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("usage of what is gone: %v", err)
	}
}

func TestUsageV2(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, map[string]string{
		"g/cgroup.type":         "domain\n",
		"g/cpu.stat":            "usage_usec 2500000\nuser_usec 1\n",
		"g/memory.current":      "1000\n",
		"g/memory.max":          "max\n",
		"g/memory.swap.current": "3\n",
		"g/memory.swap.max":     "40\n",
		"g/memory.stat":         "anon 600\nfile 300\nkernel 20\nfile_mapped 30\ninactive_file 250\nactive_file 50\npgfault 11\npgmajfault 2\n",
		"cpu.stat":              "usage_usec 7\n",
		"memory.stat":           "anon 1\n",
	})
	c := &Cgroups{trees: []hierarchy{{dir: dir, unified: true, has: map[string]bool{"cpu": true, "memory": true}}}}
	got, err := c.Usage("/g")
	if err != nil {
		t.Fatal(err)
	}
	want := Usage{CPU: 2500 * time.Millisecond, Memory: Memory{
		Usage: 1000, WorkingSet: 750, RSS: 600, Cache: 300, MappedFile: 30, ActiveFile: 50, InactiveFile: 250, Kernel: 20,
		Swap: 3, Faults: 11, MajorFaults: 2, SwapLimit: 40,
	}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Usage{}, "Time")); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	root, err := c.Usage("/") // has no memory.current: it is the machine's
	if err != nil {
		t.Fatal(err)
	}
	if root.Memory.Usage < 1<<20 || root.CPU != 7*time.Microsecond {
		t.Errorf("usage of the root: %+v", root)
	}
}

func TestGroups(t *testing.T) {
	c := versionOne(t)
	for uid, want := range map[string]string{"a": "/kubepods/poda", "b": "/kubepods/burstable/podb", "c": "/kubepods/besteffort/podc", "d": ""} {
		if got, ok := c.PodGroup(types.UID(uid)); got != want || ok != (want != "") {
			t.Errorf("group of pod %s: %q %v, want %q", uid, got, ok, want)
		}
	}
	if diff := cmp.Diff([]string{"/kubepods/poda/one"}, c.Below("/kubepods/poda")); diff != "" {
		t.Errorf("below (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{12, 13}, c.Processes("/kubepods/poda")); diff != "" {
		t.Errorf("processes (-want +got):\n%s", diff)
	}
	if got := c.AllPods() + " " + c.RootGroup(); got != "/kubepods /" {
		t.Errorf("groups above: %s", got)
	}
}
