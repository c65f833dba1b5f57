package network

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// masqueradeTable is ours alone, so it can be replaced and removed as a whole.
const (
	masqueradeTable = "boot-masquerade"
	masqueradeChain = "postrouting"
)

// speaksNFTables reports whether the kernel has nftables.
func speaksNFTables() bool {
	c, err := nftables.New()
	if err == nil {
		_, err = c.ListTables()
	}
	return err == nil
}

// masquerade has packets from a pod of this node to anywhere outside the
// cluster leave with the node's address:
//
//	table inet boot-masquerade {
//		chain postrouting {
//			type nat hook postrouting priority srcnat;
//			ip saddr NODE ip daddr != CLUSTER ip daddr != 224.0.0.0/4 masquerade fully-random
//		}
//	}
//
// The table is replaced in one transaction, no packet sees it half-made, and only
// if its rules do not say by their comments that they are what is wanted.
func (o Options) masquerade() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("masquerade pods: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: masqueradeTable}
	if o.masquerades(c, table) {
		return nil
	}
	// Deleting needs it to be there, and adding what is there changes nothing.
	c.AddTable(table)
	c.DelTable(table)
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{
		Name: masqueradeChain, Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	for _, p := range o.PodCIDRs {
		exprs := append(ofFamily(p), inRange(sourceOf(p), p, expr.CmpOpEq)...)
		for _, inside := range o.spared(p) {
			exprs = append(exprs, inRange(destinationOf(p), inside, expr.CmpOpNeq)...)
		}
		// Ports that two connections pick at the same time must not be the same.
		c.AddRule(&nftables.Rule{
			Table: table, Chain: chain, Exprs: append(exprs, &expr.Masq{FullyRandom: true}),
			UserData: userdata.AppendString(nil, userdata.TypeComment, o.masqueradeComment(p)),
		})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("masquerade pods: %w", err)
	}
	return nil
}

// masquerades reports whether the rules are there.
func (o Options) masquerades(c *nftables.Conn, table *nftables.Table) bool {
	rules, err := c.GetRules(table, &nftables.Chain{Name: masqueradeChain, Table: table})
	if err != nil {
		return false // there is no such table
	}
	var have, want []string
	for _, r := range rules {
		have = append(have, commentOf(r))
	}
	for _, p := range o.PodCIDRs {
		want = append(want, o.masqueradeComment(p))
	}
	return slices.Equal(have, want)
}

// masqueradeComment says all that the rule for a range is made of. The kernel
// keeps 256 bytes, which these do not fill.
func (o Options) masqueradeComment(pods netip.Prefix) string {
	return fmt.Sprint(pods, " but to ", o.spared(pods))
}

// spared are the destinations to which pods of a range go by their own address.
func (o Options) spared(pods netip.Prefix) []netip.Prefix {
	multicast := netip.MustParsePrefix("224.0.0.0/4")
	if pods.Addr().Is6() {
		multicast = netip.MustParsePrefix("ff00::/8")
	}
	all := []netip.Prefix{pods, multicast}
	for _, c := range o.ClusterCIDRs {
		switch {
		case c.Addr().Is4() != pods.Addr().Is4():
		case c.Contains(pods.Addr()): // as it should be
			all[0] = c
		default:
			all = append(all, c)
		}
	}
	return all
}

// ofFamily matches packets of the family of a range, where a chain sees both.
func ofFamily(p netip.Prefix) []expr.Any {
	family := byte(unix.NFPROTO_IPV4)
	if p.Addr().Is6() {
		family = unix.NFPROTO_IPV6
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
	}
}

// sourceOf is where the header of a packet has the source address.
func sourceOf(p netip.Prefix) uint32 {
	if p.Addr().Is6() {
		return 8
	}
	return 12
}

// destinationOf is where it has the destination.
func destinationOf(p netip.Prefix) uint32 { return sourceOf(p) + uint32(p.Addr().BitLen()/8) }

// inRange compares the address at offset of the network header with a range.
func inRange(offset uint32, cidr netip.Prefix, op expr.CmpOp) []expr.Any {
	size := uint32(cidr.Addr().BitLen() / 8)
	mask := make([]byte, size)
	for bit := range cidr.Bits() {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: op, Register: 1, Data: cidr.Masked().Addr().AsSlice()},
	}
}
