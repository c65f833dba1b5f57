package kubelet

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestHugePageSizes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got := hugePageSizes(dir)
	slices.Sort(got)
	if want := []string{"1GB", "2MB", "64KB"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := hugePageSizes(filepath.Join(dir, "none")); got != nil {
		t.Errorf("of no huge pages: %q", got)
	}
}

func TestThrottles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"cpu0/thermal_throttle", "cpu1/cache", "cpufreq/thermal_throttle"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := throttles(dir), []string{filepath.Join(dir, "cpu0/thermal_throttle")}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
