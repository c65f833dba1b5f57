package cgroup

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestEnforce(t *testing.T) {
	dir, trees := newUnified(t, "cpu memory pids", "kubepods", "kubepods/burstable", "kubepods/besteffort")
	o := newOptions(CgroupFS, "", &bytes.Buffer{})
	o.Allocatable["pid"] = resource.MustParse("1k")
	c, err := newOn(o, trees)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Enforce(); err != nil {
		t.Fatal(err)
	}
	got := values(t, filepath.Join(dir, "kubepods"))
	if got["memory.max"] != "1073741824" || got["pids.max"] != "1000" || got["cpu.weight"] == "" {
		t.Errorf("all pods have %v", got)
	}
	if node, pods := c.Memory(); node != dir || pods != filepath.Join(dir, "kubepods") {
		t.Errorf("memory is counted in %s and %s", node, pods)
	}
}

// A limit that the kernel refuses is told, and may be set later.
func TestEnforceLater(t *testing.T) {
	dir, trees := newUnified(t, "cpu memory pids", "kubepods", "kubepods/burstable", "kubepods/besteffort")
	c, err := newOn(newOptions(CgroupFS, "", &bytes.Buffer{}), trees)
	if err != nil {
		t.Fatal(err)
	}
	limit := filepath.Join(dir, "kubepods/memory.max")
	if err := os.Remove(limit); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(limit, 0o755); err != nil { // nobody can write to it
		t.Fatal(err)
	}
	if err := c.Enforce(); err == nil || !strings.Contains(err.Error(), "limit all pods") {
		t.Errorf("error %v", err)
	}
	if err := os.Remove(limit); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(limit, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Enforce(); err != nil || values(t, filepath.Join(dir, "kubepods"))["memory.max"] != "1073741824" {
		t.Errorf("later: %v", err)
	}
}

func TestReserve(t *testing.T) {
	dir, trees := newUnified(t, "cpu memory pids", "system.slice", "kube.slice")
	c, err := newOn(newOptions(CgroupFS, "", &bytes.Buffer{}), trees)
	if err != nil {
		t.Fatal(err)
	}
	list := v1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Mi"), "pid": resource.MustParse("9")}
	if err := c.Reserve("/system.slice", list, false); err != nil {
		t.Fatal(err)
	}
	if got := values(t, filepath.Join(dir, "system.slice")); got["memory.max"] != "1048576" || got["memory.min"] != "1048576" || got["pids.max"] != "9" || got["cpu.weight"] == "" {
		t.Errorf("reserved %v", got)
	}
	if err := c.Reserve("/kube.slice", list, true); err != nil {
		t.Fatal(err)
	}
	if got := values(t, filepath.Join(dir, "kube.slice")); got["memory.max"] != "" || got["memory.min"] != "" || got["pids.max"] != "" || got["cpu.weight"] == "" {
		t.Errorf("reserved, of CPU alone %v", got)
	}
	if err := c.Reserve("/none", list, false); err == nil || !strings.Contains(err.Error(), "it is not there") {
		t.Errorf("a group that nobody made: %v", err)
	}
}

// What only the files say, systemd takes back when it reloads.
func TestReserveSliceOfSystemd(t *testing.T) {
	c, f := newSystemd(t, true, "done")
	dir := filepath.Join(c.trees[0].dir, "kube.slice", "kube-node.slice")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files(t, dir, map[string]string{"memory.max": "max\n", "pids.max": "max\n", "cpu.weight": "100\n"})
	list := v1.ResourceList{"memory": resource.MustParse("1Mi"), "pid": resource.MustParse("9")}
	for _, name := range []string{"/kube.slice/kube-node.slice", "kube-node.slice"} { // either names it
		f.calls = nil
		if err := c.Reserve(name, list, false); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"set kube-node.slice MemoryMax=1048576 MemoryMin=1048576 TasksMax=9"}, f.calls); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := values(t, dir); got["memory.max"] != "1048576" {
		t.Errorf("reserved %v", got)
	}
	f.calls = nil
	if err := c.Reserve("/none.slice", list, false); err == nil || len(f.calls) > 0 {
		t.Errorf("a slice that nobody made: %v, %v", err, f.calls)
	}
}
