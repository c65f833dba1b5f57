// Package flannel connects the pods of this node with those of others. It speaks
// flannel's protocol: each node writes on its Node object by which address it is
// reached and how, and makes of what the others wrote there a route to the pods
// of each. So nodes that run flannel itself are peers like any other.
//
// It decides which tunnel, routes and neighbours there are and how large packets
// may be, from what the cluster, the Node objects and the kernel say. The part of
// the network that ends at this node is that of package network, which it tells.
//
// Nothing in the kernel depends on this process: what is as it should be is left
// alone, so that packets of pods do not notice when boot starts over.
package flannel

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	v1 "k8s.io/api/core/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"boot.internal/network"
)

// What flannel's nodes agree on without a word.
const (
	vni  = 1
	port = 8472
)

// Options say which node this is.
type Options struct {
	// Node is its name.
	Node string
	// NodeIPs are the addresses by which others reach it, at most one of each
	// family. Of a family without any, an address is taken from the same link.
	NodeIPs []netip.Addr
	// Local is what package network is told beside ranges and MTU.
	Local network.Options
	Log   *slog.Logger
}

// A Network keeps the pod network as it should be.
type Network struct {
	o    Options
	poke chan struct{} // capacity 1
	told *telling

	mu    sync.Mutex // guards what follows
	cidrs []netip.Prefix
	conf  *Conf               // nil until it is known
	nodes map[string]*v1.Node // by name, nil until they were listed
	links map[int]bool        // by index: those that matter
}

// New returns a Network that does nothing before Run.
func New(o Options) *Network {
	return &Network{o: o, poke: make(chan struct{}, 1)}
}

// SetPodCIDRs says which ranges the node has for its pods. It never blocks.
func (n *Network) SetPodCIDRs(cidrs []netip.Prefix) {
	n.set(func() { n.cidrs = cidrs })
}

// set changes what is known, and has the kernel follow.
func (n *Network) set(change func()) {
	n.mu.Lock()
	change()
	n.mu.Unlock()
	n.Poke()
}

// Poke asks for a look. It never blocks.
func (n *Network) Poke() {
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

// alone is the configuration of a node that is in no cluster.
func alone() *Conf { return &Conf{Backend: Alloc} }

// Run keeps the network until ctx ends, and then leaves it as it is. Without an
// API, when it is nil, the node is alone. Event records what a user should know
// of; it must not block.
func (n *Network) Run(ctx context.Context, api corev1.CoreV1Interface, event func(kind, reason, message string)) {
	n.told = newTelling(n.o.Log, event)
	var parts sync.WaitGroup
	defer parts.Wait()
	if api == nil {
		n.set(func() { n.conf = alone() })
	} else {
		parts.Go(func() { n.followConf(ctx, api) })
		parts.Go(func() { n.followNodes(ctx, api) })
	}
	parts.Go(func() { n.followKernel(ctx) })
	n.keep(ctx, api)
}
