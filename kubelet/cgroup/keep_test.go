package cgroup

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/memory"
)

// What is kept for pods is kept for those above them, as they come, change and go
// (KEP-2570).
func TestKeep(t *testing.T) {
	dir, trees := newUnified(t, "cpu memory pids", "kubepods", "kubepods/podg", "kubepods/burstable", "kubepods/burstable/podb", "kubepods/besteffort")
	o := newOptions(CgroupFS, "", new(bytes.Buffer))
	o.Keep = memory.Policy{Tiered: true, Throttling: 0.9}
	var told kept
	o.Kept = func(guaranteed, burstable int64) { told = kept{guaranteed, burstable} }
	c, err := newOn(o, trees)
	if err != nil {
		t.Fatal(err)
	}
	guaranteed, burstable := newPod("g", v1.PodQOSGuaranteed, "1", "3Mi"), newPod("b", v1.PodQOSBurstable, "1", "1Mi")
	for _, step := range []struct {
		name           string
		do             func() error
		min, low, kept string
	}{
		{"nobody", c.Enforce, "0", "0", "0"},
		{"guaranteed", func() error { _, err := c.Create(guaranteed); return err }, "3145728", "0", "0"},
		{"both", func() error { _, err := c.Create(burstable); return err }, "4194304", "1048576", "1048576"},
		{"more", func() error { return c.Raise(newPod("b", v1.PodQOSBurstable, "1", "2Mi")) }, "5242880", "2097152", "2097152"},
		{"less", func() error { return c.Update(burstable) }, "4194304", "1048576", "1048576"},
		{"one is gone", func() error {
			if err := os.RemoveAll(filepath.Join(dir, "kubepods/podg")); err != nil { // which has files here
				return err
			}
			return c.Remove("g")
		}, "1048576", "1048576", "1048576"},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		all, class := values(t, filepath.Join(dir, "kubepods")), values(t, filepath.Join(dir, "kubepods/burstable"))
		if diff := cmp.Diff([]string{step.min, step.low, step.kept}, []string{all["memory.min"], all["memory.low"], class["memory.low"]}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	want := map[string]string{"cpu.weight": "100", "pids.max": "100", "memory.low": "1048576", "memory.high": "max"}
	if diff := cmp.Diff(want, values(t, filepath.Join(dir, "kubepods/burstable/podb"))); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
	if told != (kept{burstable: 1 << 20}) {
		t.Errorf("told of %+v", told)
	}
}

// Systemd is told, or would take it back.
func TestKeepInSlices(t *testing.T) {
	c, f := newSystemd(t, true, "done")
	c.Keep = memory.Policy{Tiered: true, Throttling: 0.9}
	if _, err := c.Create(newPod("a", v1.PodQOSGuaranteed, "1", "1Mi")); err != nil {
		t.Fatal(err)
	}
	want := "start kubepods-poda.slice CPUWeight=100 CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=1000000 MemoryMax=1048576 MemoryMin=1048576 MemoryHigh=18446744073709551615 TasksMax=100"
	if got := f.calls[len(f.calls)-1]; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
