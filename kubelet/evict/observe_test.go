package evict

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write makes files in a directory.
func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// testHost is a machine of files with 1000 KiB of memory, 300 of which work, and
// 100 more that are set aside for huge pages.
func testHost(t *testing.T) Host {
	t.Helper()
	root := write(t, t.TempDir(), map[string]string{
		"proc/meminfo":                "MemTotal:  1100 kB\nMemFree: 1 kB\nHugePages_Total: 1\nHugetlb: 100 kB\n",
		"proc/loadavg":                "0.20 0.18 0.12 1/80 11206\n",
		"proc/sys/kernel/pid_max":     "4194304\n",
		"proc/sys/kernel/threads-max": "1000\n",
		"memory/memory.stat":          "cache 1\ntotal_inactive_file 102400\n", "memory/memory.usage_in_bytes": "409600\n",
		"memory/memory.limit_in_bytes":          "9223372036854771712\n",
		"memory/kubepods/memory.stat":           "total_inactive_file 0\n",
		"memory/kubepods/memory.usage_in_bytes": "204800\n", "memory/kubepods/memory.limit_in_bytes": "307200\n",
	})
	return Host{Root: root, Memory: filepath.Join(root, "memory"), PodMemory: filepath.Join(root, "memory/kubepods"), Node: root}
}

func TestLook(t *testing.T) {
	h := testHost(t)
	seen, err := h.Look()
	if err != nil {
		t.Fatal(err)
	}
	if l := seen[NodeFSAvailable]; l.Available <= 0 || l.Capacity < l.Available || seen[ImageFSAvailable].Capacity != l.Capacity || seen[ContainerFSInodesFree].Capacity == 0 {
		t.Errorf("file systems %+v", seen)
	}
	want := Levels{
		MemoryAvailable: {700 << 10, 1000 << 10}, AllocatableMemoryAvailable: {100 << 10, 300 << 10}, PIDAvailable: {920, 1000},
	}
	for s := range seen {
		if strings.Contains(string(s), "fs.") {
			delete(seen, s)
		}
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
}

func TestLookAtVersion2(t *testing.T) {
	h := testHost(t)
	h.Memory = write(t, t.TempDir(), map[string]string{"memory.stat": "anon 204800\nfile 204800\ninactive_file 102400\n"}) // a root
	h.PodMemory = write(t, t.TempDir(), map[string]string{
		"memory.stat": "anon 1\nfile 2\ninactive_file 0\n", "memory.current": "204800\n", "memory.max": "307200\n",
	})
	seen, err := h.Look()
	if want := (Level{700 << 10, 1000 << 10}); err != nil || seen[MemoryAvailable] != want {
		t.Errorf("%+v, %v", seen[MemoryAvailable], err)
	}
	if want := (Level{100 << 10, 300 << 10}); seen[AllocatableMemoryAvailable] != want {
		t.Errorf("%+v", seen[AllocatableMemoryAvailable])
	}
	write(t, h.PodMemory, map[string]string{"memory.max": "max\n"})
	if seen, err := h.Look(); err != nil || seen[AllocatableMemoryAvailable] != (Level{}) {
		t.Errorf("pods without a limit: %+v, %v", seen, err)
	}
}

// What cannot be seen keeps nothing else from being seen.
func TestLookInPart(t *testing.T) {
	h := testHost(t)
	h.Images = filepath.Join(h.Root, "gone")
	if err := os.Remove(filepath.Join(h.Root, "proc/loadavg")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(h.PodMemory); err != nil { // no pod ran yet
		t.Fatal(err)
	}
	seen, err := h.Look()
	if err == nil || !strings.Contains(err.Error(), "count processes") || !strings.Contains(err.Error(), "gone") {
		t.Errorf("error %v", err)
	}
	if _, ok := seen[MemoryAvailable]; !ok || len(seen) != 3 {
		t.Errorf("seen %+v", seen)
	}
}

func TestLayout(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		name string
		h    Host
		want Layout
	}{
		{"all in one", Host{Node: dir, Images: dir, Containers: dir}, Layout{}},
		{"images apart", Host{Node: dir, Images: "/proc"}, Layout{Images: true}},
		{"images apart, containers with the node", Host{Node: dir, Images: "/proc", Containers: dir}, Layout{Images: true, Containers: true}},
	} {
		if got, err := test.h.Layout(); err != nil || got != test.want {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
	if _, err := (Host{Node: dir, Images: "/gone"}).Layout(); err == nil {
		t.Error("a directory that is not there has a file system")
	}
}

func TestContainersFollowTheirFileSystem(t *testing.T) {
	all := []Threshold{
		{Signal: NodeFSAvailable, Amount: Amount{Share: 0.1}},
		{Signal: ImageFSInodesFree, Amount: Amount{Share: 0.2}},
		{Signal: ContainerFSAvailable, Amount: Amount{Share: 0.9}},
	}
	node := append(all[:2:2], Threshold{Signal: ContainerFSAvailable, Amount: Amount{Share: 0.1}})
	images := append(all[:2:2], Threshold{Signal: ContainerFSInodesFree, Amount: Amount{Share: 0.2}})
	for l, want := range map[Layout][]Threshold{{}: node, {Images: true}: images, {Images: true, Containers: true}: node} {
		if diff := cmp.Diff(want, l.withContainerFS(all)); diff != "" {
			t.Errorf("%+v: %s", l, diff)
		}
	}
}

func TestSteps(t *testing.T) {
	all := []Step{DeadContainers, UnusedImages}
	for _, test := range []struct {
		l    Layout
		s    Signal
		want []Step
	}{
		{Layout{}, MemoryAvailable, nil},
		{Layout{}, NodeFSAvailable, all},
		{Layout{}, ImageFSInodesFree, all},
		{Layout{Images: true}, NodeFSAvailable, nil},
		{Layout{Images: true}, ContainerFSAvailable, all},
		{Layout{Images: true, Containers: true}, ImageFSAvailable, []Step{UnusedImages}},
		{Layout{Images: true, Containers: true}, NodeFSInodesFree, []Step{DeadContainers}},
	} {
		if diff := cmp.Diff(test.want, test.l.steps(test.s)); diff != "" {
			t.Errorf("%s on %+v: %s", test.s, test.l, diff)
		}
	}
}
