package cgroup

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

func writeController(t *testing.T, dir, list string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fakeUnits behaves as systemd does: a unit can be started once.
type fakeUnits struct {
	units  map[string]bool
	calls  []string
	result string // of jobs
}

func (f *fakeUnits) note(call, unit string, properties []dbus.Property) {
	for _, p := range properties {
		switch p.Name {
		case "Description", "DefaultDependencies", "CPUAccounting", "MemoryAccounting", "TasksAccounting":
		default:
			unit += fmt.Sprintf(" %s=%v", p.Name, p.Value.Value())
		}
	}
	f.calls = append(f.calls, call+" "+unit)
}

func (f *fakeUnits) StartTransientUnitContext(_ context.Context, unit, _ string, p []dbus.Property, done chan<- string) (int, error) {
	if f.units[unit] {
		return 0, godbus.Error{Name: "org.freedesktop.systemd1.UnitExists"}
	}
	f.note("start", unit, p)
	f.units[unit] = true
	done <- f.result
	return 1, nil
}

func (f *fakeUnits) SetUnitPropertiesContext(_ context.Context, unit string, _ bool, p ...dbus.Property) error {
	f.note("set", unit, p)
	return nil
}

func (f *fakeUnits) StopUnitContext(_ context.Context, unit, _ string, done chan<- string) (int, error) {
	if !f.units[unit] {
		return 0, godbus.Error{Name: "org.freedesktop.systemd1.NoSuchUnit"}
	}
	f.note("stop", unit, nil)
	delete(f.units, unit)
	done <- f.result
	return 1, nil
}

func (f *fakeUnits) connect(context.Context) (Units, error) { return f, nil }

// newSystemd returns Cgroups over a fake systemd and hierarchies without files.
func newSystemd(t *testing.T, unified bool, result string) (*Cgroups, *fakeUnits) {
	t.Helper()
	f := &fakeUnits{units: map[string]bool{}, result: result}
	o := newOptions(Systemd, "/", new(bytes.Buffer))
	o.Connect = f.connect
	c, err := newOn(o, []hierarchy{{dir: t.TempDir(), unified: unified, has: map[string]bool{"cpu": true, "memory": true, "pids": true}}})
	if err != nil {
		t.Fatal(err)
	}
	return c, f
}

func TestSystemd(t *testing.T) {
	for version, unified := range map[string]bool{"v1": false, "v2": true} {
		t.Run(version, func(t *testing.T) {
			c, f := newSystemd(t, unified, "done")
			p := newPod("a-b", v1.PodQOSGuaranteed, "1505m", "1Mi")
			for range 2 {
				parent, err := c.Create(p)
				if err != nil || parent != "/kubepods.slice/kubepods-poda_b.slice" {
					t.Fatal(parent, err)
				}
			}
			if err := c.Remove(p.UID); err != nil {
				t.Fatal(err)
			}
			all, pod := "CPUShares=2048 MemoryLimit=1073741824", "CPUShares=1541 CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=1510000 MemoryLimit=1048576 TasksMax=100"
			least, keep, low := "CPUShares=2", "", ""
			if unified {
				keep, low = " MemoryMin=0 MemoryLow=0", " MemoryLow=0"
				all, pod = "CPUWeight=174 MemoryMax=1073741824", "CPUWeight=139 CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=1510000 MemoryMax=1048576 TasksMax=100"
				least = "CPUWeight=1"
			}
			want := []string{
				"start kubepods.slice" + keep,
				"set kubepods.slice " + all,
				"start kubepods-besteffort.slice " + least,
				"start kubepods-burstable.slice" + low,
				"set kubepods-burstable.slice " + least,
				"start kubepods-poda_b.slice " + pod,
				"stop kubepods-poda_b.slice",
			}
			if diff := cmp.Diff(want, f.calls); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSystemdRefuses(t *testing.T) {
	c, _ := newSystemd(t, true, "failed")
	_, err := c.Create(newPod("a", v1.PodQOSBestEffort, "", ""))
	if err == nil || !strings.Contains(err.Error(), "start unit kubepods.slice: failed") {
		t.Errorf("error %v", err)
	}
}
