// Package network connects the pods of one node: a bridge that every pod is
// plugged into, addresses from the node's pod CIDRs, host ports, and
// masquerading of what leaves the cluster.
//
// It decides what the CNI configuration says and which firewall rules there are,
// and takes all of it away again, with what network/flannel made. Plugging pods
// in is done by the CNI plugins, which the container engine calls; the ways to
// the pods of other nodes are made by network/flannel.
package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"boot.internal/atomicfile"
)

// Bridge is the link that pods are plugged into.
const Bridge = "cni0"

// What leads to the pods of other nodes: links, named as flannel names them and
// known as ours by their alias, and routes, known by their protocol.
const (
	TunnelIPv4    = "flannel.1"
	TunnelIPv6    = "flannel-v6.1"
	LinkAlias     = "pod network of boot"
	RouteProtocol = 98 // of the numbers that nobody has claimed
)

// Name is that of the network, by which plugins tag what they keep.
const Name = "boot"

// A Backend is what the CNI plugins program host ports with.
type Backend string

// The backends. The zero Backend is found out with Detect.
const (
	NFTables Backend = "nftables"
	IPTables Backend = "iptables"
	None     Backend = "none" // host ports do not work
)

// Detect returns the backend whose program the host has.
func Detect() Backend {
	if _, err := exec.LookPath("nft"); err == nil {
		return NFTables
	}
	if _, err := exec.LookPath("iptables"); err == nil {
		return IPTables
	}
	return None
}

// Options say which network is wanted. The zero value of each field but
// PodCIDRs stands for the default named there.
type Options struct {
	// PodCIDRs are the ranges that pods of this node have addresses from, at
	// most one for each of IPv4 and IPv6.
	PodCIDRs []netip.Prefix
	// ClusterCIDRs are the ranges that pods of all nodes have addresses from: what
	// goes there is not masqueraded. None: there are no other nodes.
	ClusterCIDRs []netip.Prefix
	// MTU is that of the pods' links, in bytes; 0 leaves it to the kernel.
	MTU int
	// ConfDir is where the engine looks for CNI configurations: /etc/cni/net.d.
	ConfDir string
	// StateDir is where addresses in use are noted: /run/boot/cni. Pods do not
	// outlive the host, and neither should that.
	StateDir string
	// CacheDir is where the CNI library keeps results: /var/lib/cni. The engine
	// knows no other place.
	CacheDir string
	// Backend programs host ports: Detect.
	Backend Backend
}

func (o Options) withDefaults() Options {
	set(&o.ConfDir, "/etc/cni/net.d")
	set(&o.StateDir, "/run/boot/cni")
	set(&o.CacheDir, "/var/lib/cni")
	if o.Backend == "" {
		o.Backend = Detect()
	}
	return o
}

func set(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func (o Options) confPath() string { return filepath.Join(o.ConfDir, "10-boot.conflist") }

// Configure makes the network what Options say. What is so already is left
// alone, so that the engine need not look at it again.
func Configure(ctx context.Context, o Options) error {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// First what the pods need, then what lets the engine plug them in.
	if err := o.firewall(ctx); err != nil {
		return err
	}
	want, err := conflist(o)
	if err != nil {
		return err
	}
	have, err := os.ReadFile(o.confPath())
	if err == nil && bytes.Equal(have, want) {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the CNI configuration: %w", err)
	}
	return atomicfile.Write(o.confPath(), want, 0o644)
}

// firewall makes the rules, by nftables where the kernel has it.
func (o Options) firewall(ctx context.Context) error {
	if !speaksNFTables() {
		return o.programIPTables(ctx)
	}
	if err := o.masquerade(); err != nil {
		return err
	}
	return o.acceptForwarded()
}

func (o Options) validate() error {
	if len(o.PodCIDRs) == 0 {
		return errors.New("configure the pod network: the node has no pod CIDR")
	}
	seen := map[bool]netip.Prefix{}
	for _, p := range o.PodCIDRs {
		if !p.IsValid() || p != p.Masked() {
			return fmt.Errorf("configure the pod network: %s is not a CIDR", p)
		}
		if other, ok := seen[p.Addr().Is4()]; ok {
			return fmt.Errorf("configure the pod network: %s and %s are of one IP family", other, p)
		}
		seen[p.Addr().Is4()] = p
	}
	switch o.Backend {
	case NFTables, IPTables, None:
		return nil
	}
	return fmt.Errorf("configure the pod network: backend %q: want %s, %s or %s", o.Backend, NFTables, IPTables, None)
}
