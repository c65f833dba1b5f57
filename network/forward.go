package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// acceptComment starts the comment of each rule of ours in a chain of others.
const acceptComment = "boot: pods of "

// acceptForwarded lets packets of pods through chains of others that drop what
// they do not know, as those of a host firewall or of Docker do: a packet that
// any chain drops is dropped, whatever ours say.
func (o Options) acceptForwarded() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("accept forwarded packets: %w", err)
	}
	chains, err := dropping(c)
	if err != nil {
		return err
	}
	for _, chain := range chains {
		if err := o.acceptIn(c, chain); err != nil {
			return err
		}
	}
	return nil
}

// dropping lists the chains that forwarded packets are dropped at the end of.
func dropping(c *nftables.Conn) ([]*nftables.Chain, error) {
	all, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list firewall chains: %w", err)
	}
	return slices.DeleteFunc(all, func(chain *nftables.Chain) bool {
		return tableFamilies()[chain.Table.Family] == "" || chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookForward ||
			chain.Policy == nil || *chain.Policy != nftables.ChainPolicyDrop
	}), nil
}

// acceptIn puts our rules at the head of a chain, unless they are in it.
func (o Options) acceptIn(c *nftables.Conn, chain *nftables.Chain) error {
	have, err := accepting(c, chain)
	if err != nil {
		return err
	}
	want := map[string]netip.Prefix{}
	for _, p := range slices.Concat(o.ClusterCIDRs, o.PodCIDRs) {
		if suits(p, chain.Table.Family) {
			want[acceptComment+p.String()] = p
		}
	}
	stale := slices.DeleteFunc(slices.Clone(have), func(r *nftables.Rule) bool { _, ok := want[commentOf(r)]; return ok })
	for _, r := range have {
		delete(want, commentOf(r))
	}
	if len(stale)+len(want) == 0 {
		return nil
	}
	for _, r := range stale {
		if err := c.DelRule(r); err != nil {
			return fmt.Errorf("delete rule of chain %s: %w", chain.Name, err)
		}
	}
	for comment, p := range want {
		for _, offset := range []uint32{sourceOf(p), destinationOf(p)} {
			c.InsertRule(&nftables.Rule{
				Table: chain.Table, Chain: chain, Exprs: acceptRule(p, offset, chain.Table.Family),
				UserData: userdata.AppendString(nil, userdata.TypeComment, comment),
			})
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("accept pods in chain %s: %w", chain.Name, err)
	}
	return nil
}

func suits(p netip.Prefix, family nftables.TableFamily) bool {
	switch family {
	case nftables.TableFamilyIPv4:
		return p.Addr().Is4()
	case nftables.TableFamilyIPv6:
		return p.Addr().Is6()
	default:
		return true
	}
}

// acceptRule is written so that iptables, whose chain it may be in, can read it.
func acceptRule(p netip.Prefix, offset uint32, family nftables.TableFamily) []expr.Any {
	var exprs []expr.Any
	if family == nftables.TableFamilyINet {
		exprs = ofFamily(p)
	}
	exprs = append(exprs, inRange(offset, p, expr.CmpOpEq)...)
	return append(exprs, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept})
}

// accepting lists the rules of ours in a chain.
func accepting(c *nftables.Conn, chain *nftables.Chain) ([]*nftables.Rule, error) {
	rules, err := c.GetRules(chain.Table, chain)
	if err != nil {
		return nil, fmt.Errorf("list rules of chain %s: %w", chain.Name, err)
	}
	return slices.DeleteFunc(rules, func(r *nftables.Rule) bool { return !strings.HasPrefix(commentOf(r), acceptComment) }), nil
}

func commentOf(r *nftables.Rule) string {
	comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
	return comment
}

// accepted lists the rules of ours in chains of others.
func accepted() ([]Leftover, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("list firewall chains: %w", err)
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list firewall chains: %w", err)
	}
	var all []Leftover
	for _, chain := range chains {
		family := tableFamilies()[chain.Table.Family]
		if family == "" || chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookForward {
			continue
		}
		rules, err := accepting(c, chain)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			desc := fmt.Sprintf("delete rule %q of chain %s %s %s", commentOf(r), family, chain.Table.Name, chain.Name)
			all = append(all, Leftover{desc, func(context.Context) error { return deleteRule(r) }})
		}
	}
	return all, nil
}

func deleteRule(r *nftables.Rule) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	if err := c.DelRule(r); err != nil {
		return err
	}
	return c.Flush()
}
