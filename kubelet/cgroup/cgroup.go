// Package cgroup keeps the control groups above containers: one for each pod,
// one for each class of pods and one for all of them.
//
//	/kubepods                       all pods: what the node can allocate
//	/kubepods/pod<uid>              a guaranteed pod
//	/kubepods/burstable             as much CPU weight as the pods in it together
//	/kubepods/burstable/pod<uid>
//	/kubepods/besteffort            the least CPU weight there is
//	/kubepods/besteffort/pod<uid>
//
// It decides the names and limits of these groups and makes them in whatever
// hierarchies the host has: version 1, 2 or both. Groups of containers are the
// runtime's, and so is killing what is in them.
package cgroup

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/memory"
)

// A Driver is who makes control groups on the host.
type Driver string

// The drivers, as KubeletConfiguration and runtimes name them.
const (
	CgroupFS Driver = "cgroupfs" // boot itself
	Systemd  Driver = "systemd"  // systemd, as slices
)

// Options are what Cgroups need to know.
type Options struct {
	Driver     Driver
	Root       string // the group above all, "" or "/" for the host's
	Mountpoint string // where the hierarchies are mounted; "" is /sys/fs/cgroup

	Allocatable v1.ResourceList // what all pods together may use; nil is no limit
	// HugePageSizes are those of the kernel, such as "2MB".
	HugePageSizes []string

	PodPids     int64         // how many processes a pod may have; 0 is no limit
	QuotaPeriod time.Duration // of CPU limits; 0 is 100 ms
	NoQuota     bool          // do not enforce CPU limits
	// Unhurried reports whether the CPU limit of a pod is not enforced, since it has
	// CPUs for itself; nil: no pod has.
	Unhurried func(p *v1.Pod) bool
	QOS       func(p *v1.Pod) v1.PodQOSClass

	// Keep is how memory is kept for pods; of version 2 only.
	Keep memory.Policy
	// Kept is told how many bytes are kept for guaranteed and for burstable pods
	// when that changes; nil is nobody. It must not call Cgroups.
	Kept func(guaranteed, burstable int64)

	// Connect reaches systemd, if Driver is Systemd; nil is by D-Bus. It is called
	// again when the connection was lost; ctx is of the call, not of the connection.
	Connect func(ctx context.Context) (Units, error)
	Logger  *slog.Logger // told what the host lacks
}

// Cgroups are the control groups of all pods of the node. Its methods may be
// called from several goroutines.
type Cgroups struct {
	Options
	trees []hierarchy
	units Units // nil unless Driver is Systemd

	mu       sync.Mutex           // guards what follows, and making groups
	prepared bool                 // the groups above pods are there
	made     map[types.UID]name   // made by this process
	given    map[types.UID]limits // to what was made by this process
	weight   uint64               // shares last given to the burstable pods
	kept     kept                 // memory last kept for all pods
	warned   map[string]bool      // controllers
}

const defaultMountpoint = "/sys/fs/cgroup"

// New finds out what the host has. It makes no group yet.
func New(o Options) (*Cgroups, error) {
	if o.Mountpoint == "" {
		o.Mountpoint = defaultMountpoint
	}
	trees, err := detect(o.Mountpoint)
	if err != nil {
		return nil, err
	}
	return newOn(o, trees)
}

func newOn(o Options, trees []hierarchy) (*Cgroups, error) {
	if o.QuotaPeriod == 0 {
		o.QuotaPeriod = 100 * time.Millisecond
	}
	c := &Cgroups{Options: o, trees: trees, made: map[types.UID]name{}, given: map[types.UID]limits{}, warned: map[string]bool{}}
	for _, controller := range controllers() {
		if !slices.ContainsFunc(trees, func(t hierarchy) bool { return t.has[controller] }) {
			c.warnMissing(controller)
		}
	}
	if o.Driver == Systemd {
		if o.Connect == nil {
			o.Connect = connect
		}
		l := &link{connect: o.Connect}
		ctx, cancel := context.WithTimeout(context.Background(), unitTimeout)
		defer cancel()
		if _, err := l.units(ctx); err != nil {
			return nil, err
		}
		c.units = l
	}
	return c, nil
}

// Create makes the group of a pod, if it is not there, sees that it has the
// limits of the pod, and returns its name as the runtime takes it for a parent.
func (c *Cgroups) Create(p *v1.Pod) (parent string, err error) {
	if strings.ContainsAny(string(p.UID), "/\x00") || p.UID == "" {
		return "", fmt.Errorf("make cgroup of %s/%s: UID %q cannot name it", p.Namespace, p.Name, p.UID)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	class := c.QOS(p)
	group := c.podName(class, p.UID)
	want := c.limitsOf(p, class)
	if _, made := c.made[p.UID]; made && c.exists(group) {
		if c.given[p.UID] != want { // a container is to start with more, or with less
			if err := c.change(p, anyway); err != nil {
				return "", err
			}
			c.given[p.UID] = want
		}
		return c.path(group), nil
	}
	if err := c.prepare(); err != nil {
		return "", err
	}
	if err := c.make(group, want); err != nil {
		return "", fmt.Errorf("make cgroup of %s/%s: %w", p.Namespace, p.Name, err)
	}
	if err := c.limitHugePages(group, p); err != nil {
		return "", err
	}
	c.made[p.UID], c.given[p.UID] = group, want
	c.settle(class)
	return c.path(group), nil
}

// prepare makes the groups above those of pods, once.
func (c *Cgroups) prepare() error {
	if c.prepared {
		return nil
	}
	all, burstable := c.Keep.All(0, 0)
	if err := c.make(c.allPods(), limits{keep: all}); err != nil {
		return fmt.Errorf("make cgroup of all pods: %w", err)
	}
	if err := c.make(c.allPods(), limitsOfList(c.Allocatable)); err != nil {
		// The pods that run use more than they should from now on. That is no
		// reason not to run any.
		c.Logger.Warn("pods are not limited to what the node can allocate", slog.Any("err", err))
	}
	if err := c.make(c.classOf(v1.PodQOSBestEffort), limits{shares: minShares}); err != nil {
		return fmt.Errorf("make cgroup of best-effort pods: %w", err)
	}
	if err := c.make(c.classOf(v1.PodQOSBurstable), limits{keep: burstable}); err != nil {
		return fmt.Errorf("make cgroup of burstable pods: %w", err)
	}
	c.settle(v1.PodQOSBurstable) // some may be there from before
	c.prepared = true
	return nil
}

// settle brings the groups above a pod of a class up to date.
func (c *Cgroups) settle(class v1.PodQOSClass) {
	if class == v1.PodQOSBurstable {
		c.balance()
	}
	c.keep()
}

// balance gives the burstable pods together the CPU weight of each of them, so
// that they fare no worse for being in a group. Without it they run, too.
func (c *Cgroups) balance() {
	total := max(c.sharesBelow(c.classOf(v1.PodQOSBurstable)), minShares)
	if total == c.weight {
		return
	}
	if err := c.make(c.classOf(v1.PodQOSBurstable), limits{shares: total}); err != nil {
		c.Logger.Warn("CPU weight of burstable pods is out of date", slog.Any("err", err))
		return
	}
	c.weight = total
}

// make makes a group and sets its limits.
func (c *Cgroups) make(group name, l limits) error {
	if c.units != nil {
		if err := startSlice(c.units, c.path(group), c.properties(l)); err != nil {
			return err
		}
	}
	for _, t := range c.trees {
		if err := c.makeIn(t, c.path(group), l); err != nil {
			return err
		}
	}
	return nil
}

// exists reports whether a group is in every hierarchy it belongs in.
func (c *Cgroups) exists(group name) bool {
	return !slices.ContainsFunc(c.trees, func(t hierarchy) bool {
		return t.used() && !isDir(t.join(c.path(group)))
	})
}

// warnMissing says once that a controller is not there.
func (c *Cgroups) warnMissing(controller string) {
	if !c.warned[controller] {
		c.warned[controller] = true
		c.Logger.Warn("host lacks a cgroup controller: limits of its kind are not enforced", slog.String("controller", controller))
	}
}
