package cgroup

import (
	"context"
	"fmt"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// pids is the resource of processes.
const pids v1.ResourceName = "pid"

// limitsOfList returns the limits of a group that has so much. What the list does
// not have has no limit.
func limitsOfList(l v1.ResourceList) limits {
	if l == nil {
		return limits{}
	}
	n := l[pids]
	return limits{shares: sharesOf(l.Cpu().MilliValue()), memory: l.Memory().Value(), pids: n.Value()}
}

// Enforce holds all pods together to what they may use, those of an earlier
// process among them. The kernel refuses as long as they use more than that.
func (c *Cgroups) Enforce() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.prepare(); err != nil {
		return err
	}
	if err := c.make(c.allPods(), limitsOfList(c.Allocatable)); err != nil {
		return fmt.Errorf("limit all pods to what the node can allocate: %w", err)
	}
	return nil
}

// Reserve holds a group that others made, such as that of the services of the
// host, to what is reserved for it. Where compressible is set that is CPU alone,
// of which having too little kills nobody.
func (c *Cgroups) Reserve(group string, what v1.ResourceList, compressible bool) error {
	l := limits{shares: sharesOf(what.Cpu().MilliValue())}
	if _, ok := what[v1.ResourceCPU]; !ok {
		l.shares = 0
	}
	if n := what[pids]; !compressible {
		l.memory, l.pids = what.Memory().Value(), n.Value()
		l.keep = c.Keep.Reserved(l.memory)
	}
	group = c.existing(group)
	if err := c.reserveUnit(group, l); err != nil {
		return fmt.Errorf("limit cgroup %s: %w", group, err)
	}
	for _, t := range c.trees {
		if !t.used() {
			continue
		}
		if !isDir(t.join(group)) {
			return fmt.Errorf("limit cgroup %s: it is not there", group)
		}
		if err := c.makeIn(t, group, l); err != nil {
			return fmt.Errorf("limit cgroup %s: %w", group, err)
		}
	}
	return nil
}

// existing returns the path of a group that others made, as the configuration names
// it. Of a slice of systemd the last element says where it is.
func (c *Cgroups) existing(group string) string {
	slice, ok := strings.CutSuffix(path.Base(group), ".slice")
	if c.Driver != Systemd || !ok {
		return group
	}
	full, prefix := "/", ""
	for e := range strings.SplitSeq(slice, "-") {
		prefix += e
		full = path.Join(full, prefix+".slice")
		prefix += "-"
	}
	return full
}

// reserveUnit tells systemd of the limits of a slice: what only the files say it
// takes back when it reloads.
func (c *Cgroups) reserveUnit(group string, l limits) error {
	properties := c.properties(l)
	if c.units == nil || !strings.HasSuffix(group, ".slice") || len(properties) == 0 || !c.there(group) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), unitTimeout)
	defer cancel()
	return c.units.SetUnitPropertiesContext(ctx, path.Base(group), true, properties...)
}
