package network

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// masqueradeTable is ours alone, so it can be replaced and removed as a whole.
const masqueradeTable = "boot-masquerade"

// masquerade has packets from a pod to anywhere outside its range leave with
// the node's address:
//
//	table inet boot-masquerade {
//		chain postrouting {
//			type nat hook postrouting priority srcnat;
//			ip saddr CIDR ip daddr != CIDR ip daddr != 224.0.0.0/4 masquerade
//		}
//	}
//
// The table is replaced in one transaction; no packet sees it half-made.
func masquerade(cidrs []netip.Prefix) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("masquerade pods: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: masqueradeTable}
	// Deleting needs it to be there, and adding what is there changes nothing.
	c.AddTable(table)
	c.DelTable(table)
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	for _, p := range cidrs {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: masqueradeRule(p)})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("masquerade pods: %w", err)
	}
	return nil
}

// masqueradeRule is the rule for one range, as the kernel executes it.
func masqueradeRule(cidr netip.Prefix) []expr.Any {
	family, source, destination := byte(unix.NFPROTO_IPV4), uint32(12), uint32(16)
	multicast := netip.PrefixFrom(netip.AddrFrom4([4]byte{0: 224}), 4)
	if cidr.Addr().Is6() {
		family, source, destination = unix.NFPROTO_IPV6, 8, 24
		multicast = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xff}), 8)
	}
	exprs := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
	}
	exprs = append(exprs, inRange(source, cidr, expr.CmpOpEq)...)
	exprs = append(exprs, inRange(destination, cidr, expr.CmpOpNeq)...)
	exprs = append(exprs, inRange(destination, multicast, expr.CmpOpNeq)...)
	return append(exprs, &expr.Masq{})
}

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
