package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	if !ours {
		return all, nil
	}
	link, err := bridge()
	if err != nil {
		return nil, err
	}
	files, err := o.files()
	if err != nil {
		return nil, err
	}
	return append(append(all, link...), files...), nil
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

// bridge lists the link that pods are plugged into. Their ends of the cables
// are gone with them.
func bridge() ([]Leftover, error) {
	link, err := netlink.LinkByName(Bridge)
	if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for link %s: %w", Bridge, err)
	}
	return []Leftover{{"delete link " + Bridge, func(context.Context) error { return netlink.LinkDel(link) }}}, nil
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
