package cgroup

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPressure(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, map[string]string{
		"g/cpu.pressure":    "some avg10=1.50 avg60=2.25 avg300=0.10 total=1500000\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=20\n",
		"g/memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n", // without the second line, as for CPU before Linux 5.13
		"g/io.pressure":     "",
	})
	c := &Cgroups{trees: []hierarchy{{dir: dir, unified: true, has: map[string]bool{"cpu": true, "memory": true}}}}
	for resource, want := range map[string]*Pressure{
		"cpu": {
			Some: Stall{Total: 1500 * time.Millisecond, Avg10: 1.5, Avg60: 2.25, Avg300: 0.1},
			Full: Stall{Total: 20 * time.Microsecond, Avg10: 0.5},
		},
		"memory": {Some: Stall{Total: 7 * time.Microsecond}},
		"io":     nil,
		"other":  nil,
	} {
		if diff := cmp.Diff(want, c.Pressure("/g", resource)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", resource, diff)
		}
	}
	if p := versionOne(t).Pressure("/kubepods/poda", "cpu"); p != nil {
		t.Errorf("version 1 counts %+v", p)
	}
}
