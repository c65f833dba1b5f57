package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKernel(t *testing.T) {
	v1 := hierarchy{dir: t.TempDir(), has: map[string]bool{"memory": true}}
	v2 := hierarchy{dir: t.TempDir(), unified: true, has: map[string]bool{"memory": true}}
	other := hierarchy{dir: t.TempDir(), unified: true, has: map[string]bool{}}
	check := func(name string, trees []hierarchy, want Kernel) {
		t.Helper()
		if got := kernelOf(trees); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	check("version 1", []hierarchy{v1, other}, Kernel{})
	check("version 2", []hierarchy{v2}, Kernel{Unified: true})
	for _, file := range []string{filepath.Join(v1.dir, "memory.memsw.limit_in_bytes"), filepath.Join(v2.dir, "system.slice", "memory.swap.max")} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check("version 1 that counts swap", []hierarchy{other, v1}, Kernel{Swap: true})
	check("version 2 that counts swap", []hierarchy{v2}, Kernel{Unified: true, Swap: true})
	if _, err := KernelAt(t.TempDir()); err == nil {
		t.Error("no hierarchy, and no error")
	}
}
