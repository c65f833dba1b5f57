package flannel

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// here is a node of 10.0.0.0/24 and fd00:77::/64 that has tunnels.
func here() self {
	return self{
		node: "here", cidrs: prefixes("10.244.0.0/24", "fd00:244::/64"), cluster: prefixes("10.244.0.0/16", "fd00:244::/56"),
		v4: underlay{addr: netip.MustParseAddr("10.0.0.1"), link: 2, mtu: 1500, onLink: prefixes("10.0.0.0/24"), tunnel: tunnel{7, "02:00:00:00:00:01"}},
		v6: underlay{addr: netip.MustParseAddr("fd00:77::1"), link: 2, mtu: 1500, onLink: prefixes("fd00:77::/64"), tunnel: tunnel{8, "02:00:00:00:00:02"}},
	}
}

func without(s self) self {
	s.v4.tunnel, s.v6.tunnel = tunnel{}, tunnel{}
	return s
}

func TestWays(t *testing.T) {
	const mac = "02:00:00:00:01:01"
	at := func(addr, mac string) endpoint { return endpoint{netip.MustParseAddr(addr), mac} }
	far := peer{node: "far", backend: VXLAN, cidrs: prefixes("10.244.1.0/24"), v4: at("192.0.2.1", mac)}
	near := peer{node: "near", backend: VXLAN, cidrs: prefixes("10.244.2.0/24"), v4: at("10.0.0.2", mac)}
	direct := peer{node: "direct", backend: HostGW, cidrs: prefixes("10.244.3.0/24"), v4: at("10.0.0.3", "")}
	tunnelled := func(p peer) way {
		return way{to: p.cidrs[0], via: p.cidrs[0].Addr(), mac: mac, outer: p.v4.addr}
	}
	for name, tt := range map[string]struct {
		me    self
		peers []peer
		want  []way
		wrong []string
	}{
		"tunnels, near and far": {here(), []peer{far, near}, []way{tunnelled(far), tunnelled(near)}, nil},
		"itself":                {here(), []peer{here().announce()}, nil, nil},
		"a peer without tunnels": {
			here(), []peer{direct}, []way{{to: direct.cidrs[0], via: direct.v4.addr}}, nil,
		},
		"without tunnels of its own": {
			without(here()),
			[]peer{near, far},
			[]way{{to: near.cidrs[0], via: near.v4.addr}},
			[]string{"pods of node far in 10.244.1.0/24 cannot be reached: this node has host-gw and it has vxlan, which takes a common link, and 192.0.2.1 is not on one"},
		},
		"both families": {
			here(), []peer{{
				node: "dual", backend: VXLAN, cidrs: prefixes("10.244.4.0/24", "fd00:244:0:4::/64"), v4: at("10.0.0.4", mac), v6: at("fd00:77::4", "02:00:00:00:01:02"),
			}}, []way{
				{prefixes("10.244.4.0/24")[0], netip.MustParseAddr("10.244.4.0"), mac, netip.MustParseAddr("10.0.0.4")},
				{prefixes("fd00:244:0:4::/64")[0], netip.MustParseAddr("fd00:244:0:4::"), "02:00:00:00:01:02", netip.MustParseAddr("fd00:77::4")},
			}, nil,
		},
		"no address of the family": {
			here(),
			[]peer{{node: "old", backend: VXLAN, cidrs: prefixes("fd00:244:0:5::/64"), v4: at("10.0.0.5", mac)}},
			nil,
			[]string{"pods of node old in fd00:244:0:5::/64 cannot be reached: it names no address of that family"},
		},
		"of this node there is no address": {
			self{node: "here", cidrs: here().cidrs}, []peer{near}, nil, nil, // who keeps the network says so, once
		},
		"a range of this node": {
			here(),
			[]peer{{node: "thief", backend: VXLAN, cidrs: prefixes("10.244.0.0/16"), v4: at("10.0.0.6", mac)}},
			nil,
			[]string{"pods of node thief in 10.244.0.0/16 cannot be reached: this node has pods in 10.244.0.0/24 itself"},
		},
		"a range of two": {
			here(),
			[]peer{near, {node: "other", backend: VXLAN, cidrs: near.cidrs, v4: at("10.0.0.7", mac)}},
			[]way{tunnelled(near)},
			[]string{"pods of node other in 10.244.2.0/24 cannot be reached: node near has the same range"},
		},
		"a range of others": {
			here(),
			[]peer{{node: "spy", backend: VXLAN, cidrs: prefixes("10.0.0.0/24"), v4: at("10.0.0.8", mac)}, {node: "hog", backend: VXLAN, cidrs: prefixes("10.0.0.0/8"), v4: at("10.0.0.8", mac)}},
			nil,
			[]string{
				"pods of node spy in 10.0.0.0/24 cannot be reached: pods of this cluster are in [10.244.0.0/16 fd00:244::/56]",
				"pods of node hog in 10.0.0.0/8 cannot be reached: this node has pods in 10.244.0.0/24 itself",
			},
		},
		"an address of this node": {
			here(),
			[]peer{{node: "twin", backend: VXLAN, cidrs: prefixes("10.244.8.0/24"), v4: at("10.0.0.1", mac)}},
			nil,
			[]string{"pods of node twin in 10.244.8.0/24 cannot be reached: it says that 10.0.0.1, which is this node's, is its own"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, problems := ways(tt.me, tt.peers)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(way{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			var wrong []string
			for _, p := range problems {
				wrong = append(wrong, p.text)
			}
			if diff := cmp.Diff(tt.wrong, wrong); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMTU(t *testing.T) {
	only4 := here()
	only4.v6 = underlay{}
	for name, tt := range map[string]struct {
		me   self
		want int
	}{
		"in tunnels over IPv4": {only4, 1450},
		"in tunnels over both": {here(), 1430},
		"as they are":          {without(here()), 1500},
		"no underlay":          {self{}, 0},
	} {
		if got := tt.me.mtu(); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestUnderlays(t *testing.T) {
	at := func(prefix string, link int, lost bool) address {
		return address{netip.MustParsePrefix(prefix), link, lost}
	}
	have := []address{
		at("127.0.0.1/8", 1, false), at("10.0.0.1/24", 2, false), at("10.1.0.1/16", 2, false), at("192.0.2.1/24", 3, false),
		at("fe80::1/64", 2, false), at("fd00:77::dead/64", 2, true), at("fd00:77::1/64", 2, false), at("fd00:99::1/64", 3, false),
	}
	v4, v6 := underlays([]netip.Addr{netip.MustParseAddr("10.0.0.1")}, have)
	if v4.addr.String() != "10.0.0.1" || v4.link != 2 || len(v4.onLink) != 2 {
		t.Errorf("IPv4: %+v", v4)
	}
	if v6.addr.String() != "fd00:77::1" || v6.link != 2 {
		t.Errorf("IPv6, of the same link: %+v", v6)
	}
	v4, v6 = underlays([]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fd00:77::1")}, have)
	if v4.link != 3 || v6.link != 2 {
		t.Errorf("as named: %+v, %+v", v4, v6)
	}
	if v4, v6 = underlays([]netip.Addr{netip.MustParseAddr("198.51.100.1")}, have); v4.addr.IsValid() || v6.addr.IsValid() {
		t.Errorf("an address that is not here: %+v, %+v", v4, v6)
	}
}
