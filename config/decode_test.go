package config

import (
	"fmt"
	"strings"
	"testing"
)

// A few lines of aliases can stand for more than any memory holds. Where the
// type of a field bounds what is looked at, they do no harm; a quantity knows
// only itself what it can be made of.
func TestDecodeBoundsAliases(t *testing.T) {
	var lists, merges strings.Builder
	lists.WriteString("a0: &a0 [x, x]\n")
	merges.WriteString("a0: &a0 {x: y}\n")
	for n := 1; n < 40; n++ {
		fmt.Fprintf(&lists, "a%d: &a%d [*a%d, *a%d]\n", n, n, n-1, n-1)
		fmt.Fprintf(&merges, "a%d: &a%d {<<: [*a%d, *a%d]}\n", n, n, n-1, n-1)
	}
	const head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nlogging: \n  options:\n    json:\n      infoBufferSize:\n"
	for name, body := range map[string]string{
		"lists":          lists.String(),
		"merges":         merges.String(),
		"one in itself":  "a: &a [*a]\n",
		"merged in self": "a: &a {<<: *a}\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode("f", []byte(head+indent(body)))
			if err == nil || !strings.Contains(err.Error(), "too large once its aliases are expanded") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func indent(s string) string {
	const by = "        "
	return by + strings.TrimSuffix(strings.ReplaceAll(s, "\n", "\n"+by), by)
}

func TestDecodeRefusesWhatIsTooLarge(t *testing.T) {
	_, err := decode("f", []byte(strings.Repeat("#", maxConfigBytes+1)))
	if err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("error %v", err)
	}
}

// Someone who confuses everything is not told everything.
func TestDecodeBoundsFindings(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n")
	for n := range 1000 {
		fmt.Fprintf(&b, "field%d: 1\n", n)
	}
	_, err := decode("f", []byte(b.String()))
	if err == nil || strings.Count(err.Error(), "\n") != maxFindings {
		t.Errorf("error of %d lines", strings.Count(err.Error(), "\n"))
	}
}

func TestNearest(t *testing.T) {
	fields := []string{"podSubnet", "serviceSubnet", "dnsDomain"}
	for name, want := range map[string]string{
		"podSubnets": "podSubnet", "PODSUBNET": "podSubnet", "serviceSubent": "serviceSubnet", "dnsDomian": "dnsDomain",
		"subnet": "", "": "", strings.Repeat("x", 100): "",
	} {
		if got := nearest(name, fields); got != want {
			t.Errorf("nearest %q: %q; want %q", name, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "abc", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"ab", "ba", 2}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q to %q: %d; want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
