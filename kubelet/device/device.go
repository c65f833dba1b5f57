// Package device lends the devices of plugins to containers (KEP-3573): plugins
// register a resource such as example.com/gpu, tell which devices of it there
// are and how those are, and say what a container needs to use them.
//
// It decides which devices a container gets and remembers that on disk, so that
// a restart of boot takes none away; agents of the node are told of it. Whether a pod gets any at all is decided at
// admission, by the numbers that Offer returns; how many the Node has, by those
// of Capacity.
package device

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	told "k8s.io/kubelet/pkg/apis/podresources/v1"

	"boot.internal/kubelet/device/checkpoint"
)

// Options are what a Lender is made of. All are required that do not say otherwise.
type Options struct {
	Dir string // of sockets and the checkpoint: /var/lib/kubelet/device-plugins
	// Claimed returns what a container has of claims, for Tell; nil: nothing.
	Claimed func(p *v1.Pod, c *v1.Container) []*told.DynamicResource
	// Own adds the CPUs and memory that a container has for itself, and OwnAll those
	// that there are for containers, for Tell; nil: there are none.
	Own    func(p *v1.Pod, container string, to *told.ContainerResources)
	OwnAll func(to *told.AllocatableResourcesResponse)
	// Changed is called when there are other devices, or their health is another.
	// It must not block.
	Changed func()
	Log     *slog.Logger
}

// A Lender keeps the devices of all plugins. Its methods may be called from any
// goroutine.
type Lender struct {
	o        Options
	requests *requests

	life sync.WaitGroup // of what follows plugins
	turn sync.Mutex     // one pod is given devices at a time
	mu   sync.Mutex     // guards what follows
	all  map[string]*pool
	lent map[loan]*lease
}

// A pool is the devices of one resource.
type pool struct {
	devices map[string]*api.Device // by ID, as the plugin told last
	plugin  *endpoint              // that was heard of last; nil while there is none
	others  []*endpoint            // which serve the resource as well, as while a plugin is replaced
	gone    time.Time              // since when there is none
}

// A loan is what one container has of one resource.
type loan struct {
	pod       types.UID
	container string
	resource  string
}

type lease struct {
	ids  checkpoint.DevicesPerNUMA
	resp *api.ContainerAllocateResponse
	// unproven is a lease of an earlier process as long as no plugin has told that
	// its devices work: the machine may have been started anew since.
	unproven bool
}

func (l *lease) all() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, ids := range l.ids {
			for _, id := range ids {
				if !yield(id) {
					return
				}
			}
		}
	})
}

// within reports whether all devices of the lease are among these.
func (l *lease) within(ids map[string]bool) bool {
	return !slices.ContainsFunc(l.all(), func(id string) bool { return !ids[id] })
}

// forgotten is how long a plugin may be away before its devices are none of the
// node any more; it is upstream's.
const forgotten = 5 * time.Minute

// New returns a Lender that knows what was lent by an earlier process.
func New(o Options) *Lender {
	l := &Lender{o: o, requests: newRequests(), all: map[string]*pool{}, lent: map[loan]*lease{}}
	given, registered, err := checkpoint.Load(l.file())
	if err != nil {
		o.Log.Error("it is not known which devices pods have", slog.Any("err", err))
	}
	for _, e := range given {
		resp, err := decode(e.AllocResp)
		if err != nil {
			o.Log.Error("it is not known how to use devices", slog.String("uid", e.PodUID), slog.Any("err", err))
			continue
		}
		l.lent[loan{types.UID(e.PodUID), e.ContainerName, e.ResourceName}] = &lease{ids: e.DeviceIDs, resp: resp, unproven: true}
	}
	for name := range registered { // until the plugin is back, or forgotten
		l.all[name] = &pool{gone: time.Now()}
	}
	return l
}

func (l *Lender) file() string { return filepath.Join(l.o.Dir, "kubelet_internal_checkpoint") }

// save writes what is lent. mu must be held.
func (l *Lender) save() {
	var given []checkpoint.PodDevicesEntry
	for to, what := range l.lent {
		resp, err := encode(what.resp)
		if err != nil {
			l.o.Log.Error("devices may be lost by a restart", slog.Any("err", err))
			continue
		}
		given = append(given, checkpoint.PodDevicesEntry{
			PodUID: string(to.pod), ContainerName: to.container, ResourceName: to.resource, DeviceIDs: what.ids, AllocResp: resp,
		})
	}
	slices.SortFunc(given, func(a, b checkpoint.PodDevicesEntry) int {
		return cmp.Or(cmp.Compare(a.PodUID, b.PodUID), cmp.Compare(a.ContainerName, b.ContainerName), cmp.Compare(a.ResourceName, b.ResourceName))
	})
	registered := map[string][]string{}
	for name, p := range l.all {
		registered[name] = slices.Sorted(maps.Keys(p.healthy()))
	}
	if err := checkpoint.Store(l.file(), given, registered); err != nil {
		l.o.Log.Error("devices may be lost by a restart", slog.Any("err", err))
	}
}

func (p *pool) healthy() map[string]bool {
	all := map[string]bool{}
	for id, d := range p.devices {
		if p.plugin != nil && d.Health == api.Healthy {
			all[id] = true
		}
	}
	return all
}

// Capacity returns how many devices of each resource the node has, and how many
// of those work. Of a resource whose plugin has left for good it has none.
func (l *Lender) Capacity() (capacity, allocatable v1.ResourceList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	capacity, allocatable = v1.ResourceList{}, v1.ResourceList{}
	for name, p := range l.all {
		devices := len(p.devices)
		if p.plugin == nil && time.Since(p.gone) >= forgotten {
			devices = 0
		}
		capacity[v1.ResourceName(name)] = *resource.NewQuantity(int64(devices), resource.DecimalSI)
		allocatable[v1.ResourceName(name)] = *resource.NewQuantity(int64(len(p.healthy())), resource.DecimalSI)
	}
	return capacity, allocatable
}

// Offer returns how many devices of each resource may be had: those that work,
// and those that are lent, whether they do or not.
func (l *Lender) Offer() map[v1.ResourceName]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[v1.ResourceName]int64{}
	for name, p := range l.all {
		usable := p.healthy()
		for to, what := range l.lent {
			if to.resource == name {
				for _, id := range what.all() {
					usable[id] = true
				}
			}
		}
		all[v1.ResourceName(name)] = int64(len(usable))
	}
	return all
}

// Health returns how the devices of a pod are, by container (KEP-4680).
func (l *Lender) Health(uid types.UID) map[string][]v1.ResourceStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all map[string][]v1.ResourceStatus
	for to, what := range l.lent {
		if to.pod != uid {
			continue
		}
		s := v1.ResourceStatus{Name: v1.ResourceName(to.resource)}
		for _, id := range what.all() {
			health := v1.ResourceHealthStatusHealthy
			if d := l.device(to.resource, id); d != nil && d.Health != api.Healthy {
				health = v1.ResourceHealthStatusUnhealthy
			}
			s.Resources = append(s.Resources, v1.ResourceHealth{ResourceID: v1.ResourceID(id), Health: health})
		}
		if all == nil {
			all = map[string][]v1.ResourceStatus{}
		}
		all[to.container] = append(all[to.container], s)
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b v1.ResourceStatus) int { return cmp.Compare(a.Name, b.Name) })
	}
	return all
}

func (l *Lender) device(resource, id string) *api.Device {
	if p := l.all[resource]; p != nil {
		return p.devices[id]
	}
	return nil
}

// Keep takes back the devices of all pods but these.
func (l *Lender) Keep(keep map[types.UID]bool) {
	l.takeBack(func(uid types.UID) bool { return !keep[uid] })
}

// Forget takes back the devices of a pod that is gone or over.
func (l *Lender) Forget(uid types.UID) {
	l.takeBack(func(is types.UID) bool { return is == uid })
}

func (l *Lender) takeBack(from func(types.UID) bool) {
	l.mu.Lock()
	before := len(l.lent)
	maps.DeleteFunc(l.lent, func(to loan, _ *lease) bool { return from(to.pod) })
	changed := len(l.lent) != before
	if changed {
		l.save()
	}
	l.mu.Unlock()
	if changed {
		l.o.Changed()
	}
}

// pluginOf returns the plugin of a resource.
func (l *Lender) pluginOf(name string) (*endpoint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.all[name]; p != nil && p.plugin != nil {
		return p.plugin, nil
	}
	return nil, fmt.Errorf("endpoint not found in cache for a registered resource: %s", name)
}
