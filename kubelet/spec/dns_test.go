package spec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/spec"
)

// own returns how names are resolved in a pod that says it all itself.
func own(t *testing.T, servers, searches []string) (*cri.DNSConfig, string) {
	t.Helper()
	p := parse(t, "spec: {dnsPolicy: None}")
	p.Spec.DNSConfig = &v1.PodDNSConfig{Nameservers: servers, Searches: searches}
	got, warnings, err := spec.DNS(p, node(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, w := range warnings {
		text = append(text, w.Reason+": "+w.Message)
	}
	return got, strings.Join(text, "\n")
}

func TestDNSLimits(t *testing.T) {
	const cut = "DNSConfigForming: Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
	var many, long []string
	for i := range 40 {
		many = append(many, strings.Repeat("a", i+1)+".test")
	}
	for i := range 20 {
		long = append(long, strings.Repeat("a", 200)+string(rune('a'+i)))
	}
	for _, c := range []struct {
		name              string
		servers, searches []string
		want              int // searches
		warning           string
	}{
		{"nothing", nil, nil, 0, ""},
		{"as many as can be", []string{"1", "2", "3"}, many[:32], 32, ""},
		{"many", nil, many, 32, cut + strings.Join(many[:32], " ")},
		{"long together", nil, long, 10, cut + strings.Join(long[:10], " ")},
		{"one too long", nil, []string{"a.test", strings.Repeat("a", 254), "b.test"}, 2, cut + "a.test b.test"},
		{
			"servers",
			[]string{"1", "2", "3", "4"},
			nil, 0,
			"DNSConfigForming: Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 1 2 3",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, warning := own(t, c.servers, c.searches)
			if len(got.Searches) != c.want || len(got.Servers) > 3 {
				t.Errorf("%d searches, want %d; %d servers", len(got.Searches), c.want, len(got.Servers))
			}
			if diff := cmp.Diff(c.warning, warning); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDNSWithoutCluster has nodes that know of no DNS of the cluster.
func TestDNSWithoutCluster(t *testing.T) {
	n := node()
	n.ClusterDNS = nil
	for _, c := range []struct {
		name string
		conf []byte
		ips  []string
		want *cri.DNSConfig
	}{
		{
			"as the node does", []byte("nameserver 192.0.2.1\nsearch .\noptions timeout:1 ndots:2\nsearch last. wins .\noptions ndots:3\n\n; x\n"), nil,
			&cri.DNSConfig{Servers: []string{"192.0.2.1"}, Searches: []string{"last", "wins"}, Options: []string{"timeout:1", "ndots:3"}},
		},
		{"an empty file", []byte{}, nil, &cri.DNSConfig{}},
		{"no file, of one family", nil, []string{"192.0.2.1"}, &cri.DNSConfig{Servers: []string{"127.0.0.1"}, Searches: []string{"."}}},
		{"no file, of both", nil, []string{"2001:db8::1", "192.0.2.1"}, &cri.DNSConfig{Servers: []string{"::1", "127.0.0.1"}, Searches: []string{"."}}},
		{"no file, no address", nil, nil, &cri.DNSConfig{Servers: []string{"127.0.0.1"}, Searches: []string{"."}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.IPs = c.ips
			got, warnings, err := spec.DNS(parse(t, ""), n, c.conf)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want.String(), got.String()); diff != "" {
				t.Error(diff)
			}
			want := []spec.Warning{{
				Reason: "MissingClusterDNS",
				Message: `pod: "web_shop(u)". kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. ` +
					`Falling back to "Default" policy.`,
			}}
			if diff := cmp.Diff(want, warnings); diff != "" {
				t.Error(diff)
			}
		})
	}
}
