package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// A Leftover is one thing that the pod network, or a kube-proxy that ran on
// this node, has put on the host.
type Leftover struct {
	Desc   string // "delete link cni0"
	Remove func(context.Context) error
}

// Remove takes the pod network and kube-proxy's rules off the host. What is not
// there is not missed.
func Remove(ctx context.Context, o Options) error {
	all, err := Leftovers(ctx, o)
	if err != nil {
		return err
	}
	for _, l := range all {
		if err := l.Remove(ctx); err != nil {
			return fmt.Errorf("%s: %w", l.Desc, err)
		}
	}
	return nil
}

// Leftovers lists what Remove takes away. The CNI configuration comes last: as
// long as it is there, the bridge and the plugins' tables are known to be ours.
// Without it those are left to whoever has a network of the same making.
func Leftovers(ctx context.Context, o Options) ([]Leftover, error) {
	o = o.withDefaults()
	_, err := os.Stat(o.confPath())
	ours := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look for the CNI configuration: %w", err)
	}
	all, err := tables(ours)
	if err != nil {
		return nil, err
	}
	chains, err := chains(ctx, ours)
	if err != nil {
		return nil, err
	}
	all = append(all, chains...)
	rules, err := accepted()
	if err != nil {
		return nil, err
	}
	all = append(all, rules...)
	if !ours {
		return all, nil
	}
	links, err := links()
	if err != nil {
		return nil, err
	}
	routes, err := routes()
	if err != nil {
		return nil, err
	}
	files, err := o.files()
	if err != nil {
		return nil, err
	}
	return slices.Concat(all, links, routes, files), nil
}

// tables lists nftables' tables. They are asked for and deleted in netlink,
// because the host need not have the program: kube-proxy brings its own.
func tables(ours bool) ([]Leftover, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("list firewall tables: %w", err)
	}
	have, err := c.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list firewall tables: %w", err)
	}
	var all []Leftover
	for _, t := range have {
		family, removable := tableFamilies()[t.Family], false
		switch t.Name {
		case "kube-proxy", masqueradeTable:
			removable = true
		case "cni_hostport":
			removable = ours
		}
		if family == "" || !removable {
			continue
		}
		all = append(all, Leftover{"delete firewall table " + family + " " + t.Name, func(context.Context) error {
			return deleteTable(t)
		}})
	}
	return all, nil
}

func tableFamilies() map[nftables.TableFamily]string {
	return map[nftables.TableFamily]string{
		nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyINet: "inet",
	}
}

func deleteTable(t *nftables.Table) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.DelTable(t)
	return c.Flush()
}

// links lists the link that pods are plugged into, whose ends of the cables are
// gone with them, and the tunnels to other nodes, which take their routes along.
func links() ([]Leftover, error) {
	var all []Leftover
	for _, name := range append([]string{Bridge}, tunnels()...) {
		link, err := netlink.LinkByName(name)
		if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for link %s: %w", name, err)
		}
		if name != Bridge && link.Attrs().Alias != LinkAlias {
			continue
		}
		all = append(all, Leftover{"delete link " + name, func(context.Context) error { return netlink.LinkDel(link) }})
	}
	return all, nil
}

// routes lists the routes to other nodes that go without a tunnel.
func routes() ([]Leftover, error) {
	var all []Leftover
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		have, err := netlink.RouteListFiltered(family, &netlink.Route{Protocol: RouteProtocol}, netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range have {
			if slices.Contains(tunnels(), linkName(r.LinkIndex)) {
				continue
			}
			all = append(all, Leftover{fmt.Sprintf("delete route to %s via %s", r.Dst, r.Gw), func(context.Context) error { return netlink.RouteDel(&r) }})
		}
	}
	return all, nil
}

func tunnels() []string { return []string{TunnelIPv4, TunnelIPv6} }

// linkName returns the name of a link, "" if it is gone.
func linkName(index int) string {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return ""
	}
	return link.Attrs().Name
}

// files lists the plugins' notes and the CNI configuration.
func (o Options) files() ([]Leftover, error) {
	results, err := filepath.Glob(filepath.Join(o.CacheDir, "results", Name+"-*"))
	if err != nil {
		return nil, err
	}
	var all []Leftover
	for _, path := range append(results, o.StateDir) {
		if _, err := os.Stat(path); err == nil {
			all = append(all, Leftover{"remove " + path, func(context.Context) error { return os.RemoveAll(path) }})
		}
	}
	for _, dir := range []string{filepath.Join(o.CacheDir, "results"), o.CacheDir} {
		if _, err := os.Stat(dir); err == nil {
			all = append(all, Leftover{"remove " + dir + " if it is empty", func(context.Context) error {
				_ = os.Remove(dir) // other networks keep theirs there, too
				return nil
			}})
		}
	}
	return append(all, Leftover{"remove " + o.confPath(), func(context.Context) error { return os.Remove(o.confPath()) }}), nil
}
