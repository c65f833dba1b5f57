package network

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
)

// The chains of ours, where the kernel has no nftables.
const (
	chainPrefix      = "BOOT-"
	chainMasquerade  = chainPrefix + "MASQUERADE"
	chainForward     = chainPrefix + "FORWARD"
	iptablesV4       = "iptables"
	iptablesV6       = "ip6tables"
	iptablesWaitFlag = "-w" // others may hold the lock
)

// programIPTables does what masquerade and acceptForwarded do, by the programs
// of iptables. Each set of chains is replaced in one go.
func (o Options) programIPTables(ctx context.Context) error {
	for _, p := range o.PodCIDRs {
		program := iptablesV4
		if p.Addr().Is6() {
			program = iptablesV6
		}
		restore := exec.CommandContext(ctx, program+"-restore", iptablesWaitFlag, "--noflush")
		restore.Stdin = strings.NewReader(o.ipTablesRules(p))
		if _, err := restore.Output(); err != nil {
			return fmt.Errorf("masquerade pods by %s: %w", program, run(err))
		}
		if err := jump(ctx, program, "nat", "POSTROUTING", chainMasquerade); err != nil {
			return err
		}
		if err := jump(ctx, program, "filter", "FORWARD", chainForward); err != nil {
			return err
		}
	}
	return nil
}

// ipTablesRules are the chains for one of the node's ranges, in the form of
// iptables-restore.
func (o Options) ipTablesRules(pods netip.Prefix) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("*nat")
	line(":%s - [0:0]", chainMasquerade)
	line("-A %s ! -s %s -j RETURN", chainMasquerade, pods)
	for _, d := range o.spared(pods) {
		line("-A %s -d %s -j RETURN", chainMasquerade, d)
	}
	line("-A %s -j MASQUERADE --random-fully", chainMasquerade)
	line("COMMIT")
	line("*filter")
	line(":%s - [0:0]", chainForward)
	for _, p := range slices.Concat([]netip.Prefix{pods}, o.ClusterCIDRs) {
		if p.Addr().Is4() == pods.Addr().Is4() {
			line("-A %s -s %s -j ACCEPT", chainForward, p)
			line("-A %s -d %s -j ACCEPT", chainForward, p)
		}
	}
	line("COMMIT")
	return b.String()
}

// jump has a chain of the kernel's begin with ours.
func jump(ctx context.Context, program, table, from, to string) error {
	if exec.CommandContext(ctx, program, iptablesWaitFlag, "-t", table, "-C", from, "-j", to).Run() == nil {
		return nil
	}
	if _, err := exec.CommandContext(ctx, program, iptablesWaitFlag, "-t", table, "-I", from, "-j", to).Output(); err != nil {
		return fmt.Errorf("jump from chain %s to %s: %w", from, to, run(err))
	}
	return nil
}
