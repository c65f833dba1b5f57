package flannel

import (
	"fmt"
	"net/netip"
	"slices"
)

// A self is this node, as it can be reached and reach others.
type self struct {
	node    string
	cidrs   []netip.Prefix // of its pods
	cluster []netip.Prefix // of all pods; none: unknown
	v4, v6  underlay
}

// An underlay is the network between nodes, for one family of addresses.
type underlay struct {
	addr   netip.Addr     // the node's; invalid: there is none
	link   int            // index of the link that has it
	mtu    int            // of that link, in bytes
	onLink []netip.Prefix // who is a neighbour there
	tunnel tunnel         // none if packets go as they are
}

// A tunnel is this node's end of the tunnels to all others.
type tunnel struct {
	link int // index; 0: there is none
	mac  string
}

func (t tunnel) exists() bool { return t.link != 0 }

func (s self) underlay(six bool) underlay {
	if six {
		return s.v6
	}
	return s.v4
}

// announce is what the others are told.
func (s self) announce() peer {
	p := peer{node: s.node, backend: HostGW, cidrs: s.cidrs}
	for _, u := range []struct {
		underlay
		to *endpoint
	}{{s.v4, &p.v4}, {s.v6, &p.v6}} {
		u.to.addr = u.addr
		if u.tunnel.exists() {
			p.backend, u.to.mac = VXLAN, u.tunnel.mac
		}
	}
	return p
}

// A way leads to a range of pods on another node.
type way struct {
	to  netip.Prefix
	via netip.Addr // the next hop: the node itself, or the far end of the tunnel
	// Of a tunnel: the address of its far end on its own link, and outside.
	mac   string // "" without a tunnel
	outer netip.Addr
}

// A problem is why pods of a node cannot be reached.
type problem struct{ node, text string }

// ways plans how to get to the pods of all other nodes.
func ways(me self, peers []peer) (all []way, problems []problem) {
	taken := map[netip.Prefix]string{}
	for _, p := range peers {
		if p.node == me.node {
			continue
		}
		for _, to := range p.cidrs {
			if !me.underlay(to.Addr().Is6()).addr.IsValid() {
				continue // this node is the problem, with all others
			}
			w, why := wayTo(me, p, to)
			if other, ok := taken[to]; ok && why == "" {
				why = fmt.Sprintf("node %s has the same range", other)
			}
			if why != "" {
				problems = append(problems, problem{p.node, fmt.Sprintf("pods of node %s in %s cannot be reached: %s", p.node, to, why)})
				continue
			}
			taken[to] = p.node
			all = append(all, w)
		}
	}
	return all, problems
}

// wayTo plans the way to one range, or says why there is none.
func wayTo(me self, p peer, to netip.Prefix) (way, string) {
	if i := slices.IndexFunc(me.cidrs, to.Overlaps); i >= 0 {
		return way{}, fmt.Sprintf("this node has pods in %s itself", me.cidrs[i])
	}
	// Node objects say what nodes want them to: none gets the packets of others.
	within := func(c netip.Prefix) bool { return c.Contains(to.Addr()) && c.Bits() <= to.Bits() }
	if len(me.cluster) > 0 && !slices.ContainsFunc(me.cluster, within) {
		return way{}, fmt.Sprintf("pods of this cluster are in %v", me.cluster)
	}
	six := to.Addr().Is6()
	u, e := me.underlay(six), p.endpoint(six)
	switch {
	case !e.addr.IsValid():
		return way{}, "it names no address of that family"
	case e.addr == u.addr:
		return way{}, fmt.Sprintf("it says that %s, which is this node's, is its own", e.addr)
	case u.tunnel.exists() && p.backend == VXLAN && e.mac != "":
		return way{to: to, via: to.Addr(), mac: e.mac, outer: e.addr}, ""
	case slices.ContainsFunc(u.onLink, func(l netip.Prefix) bool { return l.Contains(e.addr) }):
		return way{to: to, via: e.addr}, ""
	}
	return way{}, fmt.Sprintf("this node has %s and it has %s, which takes a common link, and %s is not on one", me.announce().backend, p.backend, e.addr)
}

// What a tunnel adds to each packet: outer addresses, UDP, VXLAN and the inner
// link's header.
const (
	overheadV4 = 20 + 8 + 8 + 14
	overheadV6 = 40 + 8 + 8 + 14
)

// room is the size of the largest packet that a tunnel over u takes, in bytes.
func (u underlay) room() int {
	if u.addr.Is6() {
		return u.mtu - overheadV6
	}
	return u.mtu - overheadV4
}

// mtu is the size of the largest packet that gets from pod to pod anywhere, 0 if
// nothing is known.
func (s self) mtu() int {
	least := 0
	for _, u := range []underlay{s.v4, s.v6} {
		if !u.addr.IsValid() {
			continue
		}
		size := u.mtu
		if u.tunnel.exists() {
			size = u.room()
		}
		if least == 0 || size < least {
			least = size
		}
	}
	return least
}
