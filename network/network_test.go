package network

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func cidrs(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestConflist(t *testing.T) {
	for name, o := range map[string]Options{
		"ipv4":       {PodCIDRs: cidrs("10.244.0.0/24"), Backend: NFTables},
		"dual-stack": {PodCIDRs: cidrs("10.244.0.0/24", "fd00:1::/64"), Backend: IPTables},
		"no-backend": {PodCIDRs: cidrs("10.244.0.0/24"), Backend: None},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := conflist(o.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".conflist")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigureRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		o    Options
		want string
	}{
		"no range":     {Options{}, "no pod CIDR"},
		"an address":   {Options{PodCIDRs: cidrs("10.244.0.1/24")}, "10.244.0.1/24 is not a CIDR"},
		"two of IPv4":  {Options{PodCIDRs: cidrs("10.0.0.0/24", "10.1.0.0/24")}, "one IP family"},
		"what backend": {Options{PodCIDRs: cidrs("10.0.0.0/24"), Backend: "x"}, `backend "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := Configure(t.Context(), tc.o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestWithoutChains(t *testing.T) {
	const rules = `*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:MINE - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A PREROUTING -j MINE
-A KUBE-SERVICES -d 10.96.0.1/32 -j ACCEPT
-A MINE -m comment --comment "not -j KUBE" -j RETURN
COMMIT
`
	const all = `*nat
:PREROUTING ACCEPT [0:0]
:MINE - [0:0]
-A PREROUTING -j MINE
-A MINE -m comment --comment "not -j KUBE" -j RETURN
COMMIT
`
	if diff := cmp.Diff(all, withoutChains(rules, []string{"KUBE-", "CNI-"})); diff != "" {
		t.Error(diff)
	}
	if got := withoutChains(rules, []string{"KUBE-"}); !strings.Contains(got, "CNI-HOSTPORT-DNAT") || strings.Contains(got, "KUBE-SERVICES") {
		t.Errorf("of one prefix:\n%s", got)
	}
}
