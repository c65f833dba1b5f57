// Package numamem gives containers memory and huge pages of certain NUMA nodes for
// their own (upstream's memory manager with the policy Static, KEP-1769).
//
// It decides from which nodes what a container asks for could come and, once package
// numa has said from which it should, how much of each node is left; it remembers that
// on disk, so that a restart takes none away. That the kernel keeps to it is what
// cpuset.mems is for, which the engine writes.
//
// Only pods of the class Guaranteed have memory of their own, and of those none with
// resources of the pod as a whole. As long as anybody has any memory of a node, that
// gives it either alone or, to others, only together with the same nodes: so nobody's
// group is left without because one of its nodes is used up by somebody else.
package numamem

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/checksum"
	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/numamem/state"
	"boot.internal/kubelet/pod"
)

// The policies of the file: that of a Bank, and that of whoever gives nothing.
const policy, unused = "Static", "None"

// Options are what a Bank is made of. All are required.
type Options struct {
	Path     string                       // of the file: /var/lib/kubelet/memory_manager_state
	Nodes    []numa.Node                  // of the machine
	Reserved Reserved                     // what nobody is given
	QOS      func(*v1.Pod) v1.PodQOSClass // returns the class of a pod
	Log      *slog.Logger
}

// A Bank keeps the memory of all nodes. It is a numa.Provider, and its methods may be
// called from any goroutine.
type Bank struct {
	o     Options
	count counters
	whole state.NUMANodeMap // with nothing given

	mu    sync.Mutex // guards what follows
	nodes state.NUMANodeMap
	given state.ContainerMemoryAssignments
}

// New returns a Bank that knows what was given by an earlier process. It refuses to go
// on where that does not go together with the machine and the configuration of now.
func New(o Options) (*Bank, error) {
	whole, err := tables(o.Nodes, o.Reserved)
	if err != nil {
		return nil, err
	}
	b := &Bank{o: o, count: newCounters(), whole: whole}
	if b.nodes, b.given, err = state.Load(o.Path, policy); err != nil {
		return nil, err
	}
	switch {
	case len(b.nodes) > 0:
		if err := b.check(); err != nil {
			return nil, checksum.Refuse(o.Path, err)
		}
	case len(b.given) > 0:
		return nil, checksum.Refuse(o.Path, errors.New("[memorymanager] machine state can not be empty when it has memory assignments"))
	default:
		b.nodes = whole.Clone()
	}
	return b, b.store()
}

// CheckUnused returns an error if the file at path is of a Bank: without one, nothing
// may be given any more.
func CheckUnused(path string) error {
	_, _, err := state.Load(path, unused)
	return err
}

// Hints implements numa.Provider. Where nothing is free it has none: Allocate refuses.
func (b *Bank) Hints(p *v1.Pod, container string) numa.Hints {
	b.mu.Lock()
	defer b.mu.Unlock()
	asks, err := b.asksOf(p, container)
	if err != nil || len(asks) == 0 {
		return nil
	}
	if has := b.blocks(p.UID, container); has != nil {
		return hintsOf(has, asks)
	}
	return asks.hints(b.possible(asks, b.again(p, container)))
}

// PodHints implements numa.Provider.
func (b *Bank) PodHints(p *v1.Pod) numa.Hints {
	b.mu.Lock()
	defer b.mu.Unlock()
	asks, err := b.asksOfPod(p)
	if err != nil || len(asks) == 0 {
		return nil
	}
	for _, d := range lasting(p) {
		if has := b.blocks(p.UID, d.Name); has != nil {
			return hintsOf(has, asks)
		}
	}
	return asks.hints(b.possible(asks, nil))
}

// Allocate implements numa.Provider.
func (b *Bank) Allocate(p *v1.Pod, container string, at numa.Hint) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	asks, err := b.asksOf(p, container)
	if err != nil || len(asks) == 0 {
		return err
	}
	b.count.requests.Inc()
	if b.blocks(p.UID, container) != nil {
		return nil
	}
	again := b.again(p, container)
	from, err := b.choose(asks, again, at)
	if err != nil {
		b.count.errors.Inc()
		return err
	}
	b.give(p, container, asks, again, from)
	b.save()
	return nil
}

// give gives a container what it asks for. What it uses again is not taken a second
// time, and is the init containers' no longer.
func (b *Bank) give(p *v1.Pod, container string, asks asks, again []state.Block, from numa.Nodes) {
	var blocks []state.Block
	for _, name := range asks.names() {
		block := state.Block{NUMAAffinity: slices.Collect(from.IDs()), Type: name, Size: asks[name]}
		used := min(block.Size, sizeOf(again, from, name))
		take(b.nodes, state.Block{NUMAAffinity: block.NUMAAffinity, Type: name, Size: block.Size - used})
		b.use(p, container, block, used)
		blocks = append(blocks, block)
	}
	if b.given[string(p.UID)] == nil {
		b.given[string(p.UID)] = map[string][]state.Block{}
	}
	b.given[string(p.UID)][container] = blocks
}

// use takes from the init containers before a container what that uses again of a block.
func (b *Bank) use(p *v1.Pod, container string, block state.Block, used uint64) {
	for _, d := range before(p, container) {
		for i, has := range b.given[string(p.UID)][d.Name] {
			if has.Type == block.Type && slices.Equal(has.NUMAAffinity, block.NUMAAffinity) {
				part := min(used, has.Size)
				used -= part
				b.given[string(p.UID)][d.Name][i].Size -= part
			}
		}
	}
}

// again returns what a container may use again: the memory of the init containers
// before it, which end before it starts.
func (b *Bank) again(p *v1.Pod, container string) []state.Block {
	var all []state.Block
	for _, d := range before(p, container) {
		all = append(all, b.given[string(p.UID)][d.Name]...)
	}
	return all
}

// Forget implements numa.Provider.
func (b *Bank) Forget(uid types.UID) {
	b.takeBack(func(p, _ string) bool { return p == string(uid) })
}

// Keep takes back the memory of all pods but these.
func (b *Bank) Keep(keep map[types.UID]bool) {
	b.takeBack(func(p, _ string) bool { return !keep[types.UID(p)] })
}

// starts takes back the memory of the init containers that have ended because this
// container of the pod starts.
func (b *Bank) starts(p *v1.Pod, container string) {
	ended := map[string]bool{}
	for _, d := range before(p, container) {
		ended[d.Name] = true
	}
	b.takeBack(func(uid, name string) bool { return uid == string(p.UID) && ended[name] })
}

func (b *Bank) takeBack(from func(uid, container string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := false
	for uid, containers := range b.given {
		for name, blocks := range containers {
			if !from(uid, name) {
				continue
			}
			for _, block := range blocks {
				giveBack(b.nodes, block)
			}
			delete(containers, name)
			changed = true
		}
		if len(containers) == 0 {
			delete(b.given, uid)
		}
	}
	if changed {
		b.save()
	}
}

// blocks returns what a container has, nil if it was given nothing.
func (b *Bank) blocks(uid types.UID, container string) []state.Block {
	return b.given[string(uid)][container]
}

func (b *Bank) store() error { return state.Store(b.o.Path, policy, b.nodes, b.given) }

// save writes what is given, and logs where that cannot be. mu must be held.
func (b *Bank) save() {
	if err := b.store(); err != nil {
		b.o.Log.Error("memory of pods may be lost by a restart", slog.Any("err", err))
	}
}

// check reports where what is given does not add up to how the nodes are.
func (b *Bank) check() error {
	want := b.whole.Clone()
	for uid, containers := range b.given {
		for name, blocks := range containers {
			for _, block := range blocks {
				if err := known(want, block); err != nil {
					return fmt.Errorf("[memorymanager] (pod: %s, container: %s) %w", uid, name, err)
				}
				take(want, block)
			}
		}
	}
	if !maps.EqualFunc(b.nodes, want, sameNode) {
		return errors.New("[memorymanager] the expected machine state is different from the real one")
	}
	return nil
}

// before returns the init containers that end before a container starts.
func before(p *v1.Pod, container string) []pod.Declared {
	all := lasting(p)
	at := slices.IndexFunc(all, func(d pod.Declared) bool { return d.Name == container })
	return slices.DeleteFunc(all[:max(at, 0)], func(d pod.Declared) bool { return d.Kind != pod.Init })
}

// lasting returns the containers of a pod that there are from its beginning.
func lasting(p *v1.Pod) []pod.Declared {
	return slices.DeleteFunc(pod.Containers(p), func(d pod.Declared) bool { return d.Kind == pod.Ephemeral })
}
