package device

import (
	"context"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	podresource "k8s.io/component-helpers/resource"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/pod"
)

// For returns who gives devices to one pod while ctx lasts, on a machine of these NUMA
// nodes. What an init container has is used again by those that come after it; a
// sidecar keeps its own. Whoever asks has one pod given devices at a time.
func (l *Lender) For(ctx context.Context, machine numa.Nodes) numa.Provider {
	return &giver{l: l, ctx: ctx, machine: machine, again: map[string]map[string]bool{}}
}

// A giver goes through the containers of one pod.
type giver struct {
	l       *Lender
	ctx     context.Context // it lives as long as a call
	machine numa.Nodes
	again   map[string]map[string]bool // devices to be used again, by resource
}

// Forget takes back what a pod has.
func (g *giver) Forget(uid types.UID) { g.l.Forget(uid) }

// Allocate gives a container what it asks for.
func (g *giver) Allocate(p *v1.Pod, container string, at numa.Hint) error {
	d, _ := pod.Find(p, container)
	for _, name := range g.l.resources(p, d) {
		if g.again[name] == nil {
			g.again[name] = map[string]bool{}
		}
		again := g.again[name]
		q := d.Resources.Limits[v1.ResourceName(name)]
		ids, err := g.l.lend(g.ctx, loan{p.UID, d.Name, name}, wish{n: int(q.Value()), again: again, near: at.Nodes})
		if err != nil {
			return err
		}
		for _, id := range ids {
			again[id] = d.Kind == pod.Init
		}
		maps.DeleteFunc(again, func(_ string, free bool) bool { return !free })
	}
	return nil
}

// Hints tells from where a container may get its devices.
func (g *giver) Hints(p *v1.Pod, container string) numa.Hints {
	d, _ := pod.Find(p, container)
	all := numa.Hints{}
	for _, name := range g.l.resources(p, d) {
		q := d.Resources.Limits[v1.ResourceName(name)]
		has := g.l.having(func(to loan) bool { return to.pod == p.UID && to.container == container && to.resource == name })
		all[v1.ResourceName(name)] = g.hints(name, has, wish{n: int(q.Value()), again: g.again[name]})
	}
	return all
}

// PodHints does so for all containers together.
func (g *giver) PodHints(p *v1.Pod) numa.Hints {
	limits := podresource.PodLimits(p, podresource.PodResourcesOptions{ExcludeOverhead: true})
	all := numa.Hints{}
	for _, d := range pod.Containers(p) {
		for _, name := range g.l.resources(p, d) {
			q := limits[v1.ResourceName(name)]
			has := g.l.having(func(to loan) bool { return to.pod == p.UID && to.resource == name })
			all[v1.ResourceName(name)] = g.hints(name, has, wish{n: int(q.Value())})
		}
	}
	return all
}

// hints tells from where as many devices of a resource may come as are wished for,
// where has are given already. Those that lie nowhere may come from anywhere.
func (g *giver) hints(resource string, has map[string]bool, w wish) []numa.Hint {
	free := g.l.free(resource)
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	m := g.l.layout(resource)
	if m.all() == 0 {
		return nil
	}
	switch {
	case len(has) == w.n:
		return m.hints(g.machine, slices.Sorted(maps.Keys(has)), wish{n: w.n})
	case len(has) > 0, len(free)+len(w.again) < w.n:
		return []numa.Hint{}
	}
	return m.hints(g.machine, free, w)
}

// having returns the devices of some loans.
func (l *Lender) having(is func(loan) bool) map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]bool{}
	for to, what := range l.lent {
		if is(to) {
			for _, id := range what.all() {
				all[id] = true
			}
		}
	}
	return all
}

// A layout is where the devices of a resource lie, by ID.
type layout map[string]numa.Nodes

// layout returns that of a resource. mu must be held.
func (l *Lender) layout(resource string) layout {
	all := layout{}
	if p := l.all[resource]; p != nil {
		for id, d := range p.devices {
			all[id] = nodesOf(d)
		}
	}
	return all
}

// nodesOf returns where a device lies. A plugin may have any ideas.
func nodesOf(d *api.Device) numa.Nodes {
	var all numa.Nodes
	for _, n := range d.GetTopology().GetNodes() {
		if n.ID >= 0 && n.ID < numa.MaxNodes {
			all |= numa.NodesOf(int(n.ID))
		}
	}
	return all
}

// all returns all nodes that devices lie on.
func (m layout) all() numa.Nodes {
	var all numa.Nodes
	for _, at := range m {
		all |= at
	}
	return all
}

// hints returns the sets of nodes that have enough of these devices, and all those to
// be used again. The smallest that could have, were no device in use, are preferred.
func (m layout) hints(machine numa.Nodes, free []string, w wish) []numa.Hint {
	among := m.all() & machine
	if among == 0 {
		among = machine
	}
	whole, again := slices.Collect(maps.Keys(m)), m.lying(w.again)
	all, least := []numa.Hint{}, among.Len()
	for at := among; at != 0; at = (at - 1) & among {
		if at.Len() < least && m.count(whole, at) >= w.n {
			least = at.Len()
		}
		if m.count(again, at) == len(again) && len(again)+m.count(free, at) >= w.n {
			all = append(all, numa.Hint{Nodes: at})
		}
	}
	for n := range all {
		all[n].Preferred = all[n].Nodes.Len() == least
	}
	return all
}

// lying returns those of these devices that lie somewhere.
func (m layout) lying(of map[string]bool) []string {
	var ids []string
	for id := range of {
		if m[id] != 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// count returns how many of these devices lie on any of the nodes.
func (m layout) count(ids []string, on numa.Nodes) int {
	n := 0
	for _, id := range ids {
		if m[id]&on != 0 {
			n++
		}
	}
	return n
}

// split parts devices into those that lie on any of the nodes, and the rest, of which
// those that lie nowhere come last.
func (l *Lender) split(resource string, ids []string, on numa.Nodes) (near, rest []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.layout(resource)
	var nowhere []string
	for _, id := range ids {
		switch {
		case m[id]&on != 0:
			near = append(near, id)
		case m[id] != 0 && on != 0:
			rest = append(rest, id)
		default:
			nowhere = append(nowhere, id)
		}
	}
	return near, append(rest, nowhere...)
}
