package node

import (
	"net/netip"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// A cloud provider has the last word on addresses.
func TestCloud(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.7")
	host := v1.NodeAddress{Type: v1.NodeHostName, Address: "n1"}
	internal := v1.NodeAddress{Type: v1.NodeInternalIP, Address: "192.0.2.7"}
	external := v1.NodeAddress{Type: v1.NodeExternalIP, Address: "203.0.113.1"}
	for _, c := range []struct {
		name      string
		o         Options
		old, want []v1.NodeAddress
		note      string
		taints    int
	}{
		{"none", Options{IPs: []netip.Addr{ip}}, []v1.NodeAddress{external}, []v1.NodeAddress{internal, host}, "", 0},
		{"it waits", Options{Cloud: true, IPs: []netip.Addr{ip}}, nil, []v1.NodeAddress{host}, "", 1},
		{
			"it is told",
			Options{Cloud: true, IPs: []netip.Addr{ip}, ProvidedIPs: []netip.Addr{ip}},
			nil,
			[]v1.NodeAddress{internal, host},
			"192.0.2.7", 1,
		},
		{
			"it has spoken",
			Options{Cloud: true, IPs: []netip.Addr{ip}, ProvidedIPs: []netip.Addr{ip}},
			[]v1.NodeAddress{external},
			[]v1.NodeAddress{external},
			"192.0.2.7", 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Name = "n1"
			k, err := New(c.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := k.addresses(c.old); !slices.Equal(got, c.want) {
				t.Errorf("addresses %v", got)
			}
			if k.providedIP() != c.note || len(k.taints()) != c.taints {
				t.Errorf("told %q, taints %v", k.providedIP(), k.taints())
			}
		})
	}
}
