package flannel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	v1 "k8s.io/api/core/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"boot.internal/network"
)

// The times between looks that nothing asks for.
const (
	lookEvery  = time.Minute // at what nobody tells of, such as a firewall that was flushed
	firstRetry = 200 * time.Millisecond
	lastRetry  = 15 * time.Second

	requestTimeout = 10 * time.Second
)

// keep looks whenever it is asked to, until ctx ends.
func (n *Network) keep(ctx context.Context, api corev1.CoreV1Interface) {
	retry := firstRetry
	for ctx.Err() == nil {
		wait := lookEvery
		if err := n.look(ctx, api); err != nil && ctx.Err() == nil {
			if !errors.Is(err, netlink.ErrDumpInterrupted) { // by changes: worth another look alone
				n.told.trouble(err.Error())
			}
			wait, retry = retry, min(2*retry, lastRetry)
		} else {
			retry = firstRetry
		}
		select {
		case <-ctx.Done():
		case <-n.poke:
		case <-time.After(wait):
		}
	}
}

// A view is what is known of the cluster.
type view struct {
	cidrs []netip.Prefix
	conf  Conf
	nodes map[string]*v1.Node // nil until they were listed
}

// view returns what is known, false until that is enough to begin with.
func (n *Network) view() (view, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conf == nil || len(n.cidrs) == 0 {
		return view{}, false
	}
	return view{slices.Clone(n.cidrs), *n.conf, maps.Clone(n.nodes)}, true
}

// look makes the network what it should be. Pods of this node come first, then
// the others are told of them, then come the ways to the others.
func (n *Network) look(ctx context.Context, api corev1.CoreV1Interface) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	v, ok := n.view()
	if !ok {
		return nil
	}
	me, err := n.observe(v)
	if err != nil {
		return err
	}
	missing := errors.Join(n.lacking(me, v.conf.Backend), n.dig(&me, v.conf.Backend))
	n.heed(me)
	if err := n.configure(ctx, v, me); err != nil {
		return errors.Join(missing, err)
	}
	n.told.works(ctx, me, v.conf)
	if v.conf.Backend == Alloc || v.nodes == nil {
		return missing
	}
	if own := v.nodes[n.o.Node]; own != nil {
		if err := n.announce(ctx, api, own, me.announce()); err != nil {
			missing = errors.Join(missing, fmt.Errorf("tell other nodes how to reach pods here: %w", err))
		}
	}
	return errors.Join(missing, n.connect(ctx, me, v))
}

// lacking says which networks to other nodes are missing. They may come back.
func (n *Network) lacking(me self, backend Backend) error {
	if backend == Alloc {
		return nil
	}
	var wrong error
	for _, p := range me.cidrs {
		if !me.underlay(p.Addr().Is6()).addr.IsValid() {
			wrong = errors.Join(wrong, fmt.Errorf("find the way to other nodes for pods in %s: no link has an address of that family among this node's, which are %v", p, n.o.NodeIPs))
		}
	}
	return wrong
}

// dig makes the tunnels that there should be, and removes the others. One whose
// address is not on the host just now stays. Where the kernel has none, packets go
// as they are.
func (n *Network) dig(me *self, backend Backend) error {
	var wrong error
	for _, six := range []bool{false, true} {
		u := &me.v4
		if six {
			u = &me.v6
		}
		i := slices.IndexFunc(me.cidrs, func(p netip.Prefix) bool { return p.Addr().Is6() == six })
		if backend != VXLAN || i < 0 {
			wrong = errors.Join(wrong, removeTunnel(six))
			continue
		}
		if !u.addr.IsValid() {
			continue
		}
		t, err := ensureTunnel(n.o.Node, *u, me.cidrs[i])
		if errors.Is(err, errNoVXLAN) {
			n.told.trouble("the kernel has no vxlan (CONFIG_VXLAN): only nodes on a common link can be reached, directly")
			err = nil
		}
		u.tunnel, wrong = t, errors.Join(wrong, err)
	}
	return wrong
}

// configure makes the part of the network that ends at this node.
func (n *Network) configure(ctx context.Context, v view, me self) error {
	o := n.o.Local
	o.PodCIDRs, o.ClusterCIDRs = v.cidrs, v.conf.ClusterCIDRs
	if v.conf.Backend != Alloc {
		o.MTU = me.mtu()
	}
	return network.Configure(ctx, o)
}

// connect makes the ways to the other nodes.
func (n *Network) connect(ctx context.Context, me self, v view) error {
	var peers []peer
	for _, name := range slices.Sorted(maps.Keys(v.nodes)) {
		if p, ok := peerOf(v.nodes[name]); ok {
			peers = append(peers, p)
		}
	}
	all, problems := ways(me, peers)
	n.told.unreachable(ctx, problems)
	var wrong error
	for _, six := range []bool{false, true} {
		uses := slices.ContainsFunc(me.cidrs, func(p netip.Prefix) bool { return p.Addr().Is6() == six })
		if uses && !me.underlay(six).addr.IsValid() {
			continue // until it is back, what there is stays
		}
		wanted := slices.DeleteFunc(slices.Clone(all), func(w way) bool { return w.to.Addr().Is6() != six })
		wrong = errors.Join(wrong, connect(me.underlay(six), six, wanted))
	}
	return wrong
}

// heed notes whose changes matter.
func (n *Network) heed(me self) {
	links := map[int]bool{}
	for _, u := range []underlay{me.v4, me.v6} {
		links[u.link] = u.addr.IsValid()
		if u.tunnel.exists() {
			links[u.tunnel.link] = true
		}
	}
	n.mu.Lock()
	n.links = links
	n.mu.Unlock()
}

// matters reports whether changes of a link do.
func (n *Network) matters(link int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[link]
}
