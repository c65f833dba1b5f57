package cgroup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// unitTimeout is how long systemd may take for one slice.
const unitTimeout = 30 * time.Second

// properties returns the limits as systemd knows them. It would take back what
// only the files say whenever it reloads.
//
// There is no AllowedCPUs among them, which upstream sets on the group of all pods,
// to all CPUs, so that systemd does not take the controller cpuset away again: its
// kubelet does not go on without. Here nothing is said to that controller, and pods
// run on all CPUs without it, also on those that are plugged in later.
func (c *Cgroups) properties(l limits) []dbus.Property {
	var out []dbus.Property
	add := func(set bool, name string, value any) {
		if set {
			out = append(out, dbus.Property{Name: name, Value: godbus.MakeVariant(value)})
		}
	}
	unified := false
	for _, h := range c.trees {
		unified = unified || h.unified && h.used()
	}
	add(l.shares > 0 && unified, "CPUWeight", weightOf(l.shares))
	add(l.shares > 0 && !unified, "CPUShares", l.shares)
	if l.quota > 0 {
		perSecond := l.quota * time.Second / c.QuotaPeriod
		add(true, "CPUQuotaPeriodUSec", uint64(c.QuotaPeriod.Microseconds()))
		// systemd rounds to whole percents of a CPU, and must not round down.
		const percent = 10 * time.Millisecond
		add(true, "CPUQuotaPerSecUSec", uint64(((perSecond + percent - 1) / percent * percent).Microseconds()))
	}
	add(l.memory > 0 && unified, "MemoryMax", uint64(l.memory))
	add(l.memory > 0 && !unified, "MemoryLimit", uint64(l.memory))
	if unified {
		add(l.keep.Min != "", "MemoryMin", amount(l.keep.Min))
		add(l.keep.Low != "", "MemoryLow", amount(l.keep.Low))
		add(l.keep.High != "", "MemoryHigh", amount(l.keep.High))
	}
	add(l.pids > 0, "TasksMax", uint64(l.pids))
	return out
}

// amount returns the value of a file as systemd knows it, to which as much as there
// is are all bits.
func amount(value string) uint64 {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return n
}

// startSlice makes a slice, or gives new properties to one that is there.
func startSlice(u Units, slice string, limits []dbus.Property) error {
	ctx, cancel := context.WithTimeout(context.Background(), unitTimeout)
	defer cancel()
	unit := path.Base(slice)
	properties := []dbus.Property{
		dbus.PropDescription("Pods of boot"),
		{Name: "DefaultDependencies", Value: godbus.MakeVariant(false)},
		{Name: "CPUAccounting", Value: godbus.MakeVariant(true)},
		{Name: "MemoryAccounting", Value: godbus.MakeVariant(true)},
		{Name: "TasksAccounting", Value: godbus.MakeVariant(true)},
	}
	done := make(chan string, 1)
	_, err := u.StartTransientUnitContext(ctx, unit, "replace", append(properties, limits...), done)
	if isDBusError(err, "org.freedesktop.systemd1.UnitExists") {
		if len(limits) == 0 {
			return nil
		}
		if err := u.SetUnitPropertiesContext(ctx, unit, true, limits...); err != nil {
			return fmt.Errorf("change unit %s: %w", unit, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("start unit %s: %w", unit, err)
	}
	return await(ctx, "start unit "+unit, done)
}

// stopSlice ends a slice. That it is gone already is fine.
func stopSlice(u Units, unit string) error {
	ctx, cancel := context.WithTimeout(context.Background(), unitTimeout)
	defer cancel()
	done := make(chan string, 1)
	_, err := u.StopUnitContext(ctx, unit, "replace", done)
	if isDBusError(err, "org.freedesktop.systemd1.NoSuchUnit") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop unit %s: %w", unit, err)
	}
	return await(ctx, "stop unit "+unit, done)
}

// await waits for the result of a job.
func await(ctx context.Context, job string, done <-chan string) error {
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("%s: %s", job, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", job, ctx.Err())
	}
}

func isDBusError(err error, name string) bool {
	var e godbus.Error
	return errors.As(err, &e) && e.Name == name
}
