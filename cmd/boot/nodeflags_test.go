package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestNodeIPs(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	both := []netip.Addr{four, six}
	for _, c := range []struct {
		flag  string
		own   []netip.Addr
		want  string
		fails string
	}{
		{"", both, "[192.0.2.7 2001:db8::7]", ""},
		{"198.51.100.1", both, "[198.51.100.1]", ""},
		{"2001:db8::1,198.51.100.1", both, "[2001:db8::1 198.51.100.1]", ""},
		{"0.0.0.0", both, "[192.0.2.7]", ""},
		{"::", both, "[2001:db8::7]", ""},
		{"::", []netip.Addr{four}, "[192.0.2.7]", ""},
		{"::", nil, "[]", ""},
		{"::ffff:198.51.100.1", both, "[198.51.100.1]", ""},
		{"198.51.100.1,198.51.100.2", both, "[]", "one IPv4 and one IPv6"},
		{"198.51.100.1,::", both, "[]", "one IPv4 and one IPv6"},
		{"198.51.100.1,2001:db8::1,2001:db8::2", both, "[]", "one IPv4 and one IPv6"},
		{"host", both, "[]", "read --node-ip"},
		{"127.0.0.1", both, "[]", "loopback"},
		{"fe80::1", both, "[]", "link-local"},
		{"224.0.0.1", both, "[]", "multicast"},
	} {
		got, err := nodeIPs(c.flag, c.own)
		if fmt.Sprint(got) != c.want || (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q: %v, error %v", c.flag, got, err)
		}
	}
}

func TestNodeLabels(t *testing.T) {
	for key, fails := range map[string]bool{
		"a": false, "example.org/a": false, "node.kubernetes.io/a": false, "kubelet.kubernetes.io/a": false,
		"topology.kubernetes.io/zone": false, "kubernetes.io/hostname": false,
		"node-role.kubernetes.io/control-plane": true, "kubernetes.io/a": true, "x.k8s.io/a": true, "a b": true,
	} {
		if err := checkLabels(map[string]string{key: "x"}); (err != nil) != fails {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestTaints(t *testing.T) {
	for text, want := range map[string]string{
		"a=b:NoSchedule":                  "[a=b:NoSchedule]",
		"example.org/a:NoExecute":         "[example.org/a:NoExecute]",
		"a:PreferNoSchedule,a:NoSchedule": "[a:PreferNoSchedule a:NoSchedule]",
		"a=b:NoSchedule,a=c:NoSchedule":   "named twice",
		"a":                               "is not key=value:effect",
		"a:Never":                         "is not key=value:effect",
		"a b:NoSchedule":                  "is not key=value:effect",
	} {
		taints, err := readTaints(strings.Split(text, ","))
		var got []string
		for _, taint := range taints {
			got = append(got, taint.ToString())
		}
		if err == nil && fmt.Sprint(got) != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, error %v", text, got, err)
		}
	}
}
