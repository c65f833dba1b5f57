package pod

import (
	"slices"
	"testing"
)

func TestOnePerFamily(t *testing.T) {
	four, six := []string{"192.0.2.1", "2001:db8::1"}, []string{"2001:db8::1", "192.0.2.1"}
	for _, c := range []struct {
		name            string
		ips, node, want []string
	}{
		{"none", nil, four, nil},
		{"one", []string{"10.0.0.7"}, four, []string{"10.0.0.7"}},
		{"one of the other family", []string{"10.0.0.7"}, six, []string{"10.0.0.7"}},
		{"both, in the node's order", []string{"10.0.0.7", "fd00::7"}, four, []string{"10.0.0.7", "fd00::7"}},
		{"both, the other way round", []string{"fd00::7", "10.0.0.7"}, four, []string{"10.0.0.7", "fd00::7"}},
		{"a node of the other family", []string{"10.0.0.7", "fd00::7"}, six, []string{"fd00::7", "10.0.0.7"}},
		{"more of a family", []string{"10.0.0.7", "10.1.0.7", "fd00::7", "fd00::8"}, four, []string{"10.0.0.7", "fd00::7"}},
		{"a node without addresses", []string{"fd00::7", "10.0.0.7"}, nil, []string{"10.0.0.7", "fd00::7"}},
		{"spelled otherwise", []string{"FD00:0::7", "::ffff:10.0.0.7"}, four, []string{"10.0.0.7", "fd00::7"}},
		{"no address", []string{"x", "10.0.0.7"}, four, []string{"10.0.0.7"}},
	} {
		if got := OnePerFamily(c.ips, c.node); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
