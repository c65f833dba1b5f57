package phases

import (
	"strings"
	"testing"
)

func TestSkew(t *testing.T) {
	at := func(from, to string) Versions { return Versions{Boot: "v1.37.2", Cluster: from, Target: to} }
	servers := at("v1.36.3", "v1.37.2")
	servers.APIServers = map[string]string{"cp1": "v1.36.3", "cp2": "v1.35.0"}
	kubelets := at("v1.36.3", "v1.37.2")
	kubelets.Kubelets = map[string]string{"w1": "v1.34.0", "w2": "v1.33.9"}
	for _, c := range []struct {
		name     string
		versions Versions
		policy   Policy
		want     string // part of what is found; empty: nothing that stops
	}{
		{"a minor version", at("v1.36.3", "v1.37.2"), Policy{}, ""},
		{"a patch", at("v1.37.0", "v1.37.2"), Policy{}, ""},
		{"the same", at("v1.37.2", "v1.37.2"), Policy{}, ""},
		{"skipping", at("v1.35.1", "v1.37.2"), Policy{Force: true}, "would skip a minor version: go to v1.36 first"},
		{"back", at("v1.37.2", "v1.36.3"), Policy{Force: true}, "no way back to v1.36.3"},
		{"back a patch", at("v1.37.2", "v1.37.1"), Policy{}, "v1.37.1 is before that: with --force"},
		{"back a patch by force", at("v1.37.2", "v1.37.1"), Policy{Force: true}, ""},
		{"newer than boot", at("v1.37.2", "v1.38.0"), Policy{Force: true}, "v1.38.0 is neither: use a newer boot"},
		{"older than boot knows", at("v1.34.1", "v1.35.2"), Policy{Force: true}, "v1.35.2 is neither: use an older boot"},
		{"another major", at("v1.37.2", "v2.37.2"), Policy{}, "another major version"},
		{"no version", at("v1.37.2", "latest"), Policy{}, `"latest" is not a version`},
		{"no cluster", at("", "v1.37.2"), Policy{}, "the cluster says its version is"},
		{"beta", at("v1.36.3", "v1.37.0-beta.1"), Policy{Candidates: true}, "v1.37.0-beta.1 is not released"},
		{"beta wanted", at("v1.36.3", "v1.37.0-beta.1"), Policy{Prereleases: true}, ""},
		{"candidate", at("v1.36.3", "v1.37.0-rc.1"), Policy{}, "v1.37.0-rc.1 is a release candidate"},
		{"candidate wanted", at("v1.36.3", "v1.37.0-rc.1"), Policy{Candidates: true}, ""},
		{"an API server behind", servers, Policy{Force: true}, "kube-apiserver of cp2 is at v1.35.0"},
		{"a kubelet behind", kubelets, Policy{}, "the kubelet of node w2 is at v1.33.9"},
		{"a kubelet left behind", kubelets, Policy{Force: true}, ""},
	} {
		t.Run(c.name, func(t *testing.T) { wantFinding(t, c.versions.Skew(c.policy), c.want) })
	}
}

func TestNodeSkew(t *testing.T) {
	for _, c := range []struct{ name, server, want string }{
		{"the same", "v1.37.0", ""},
		{"three behind", "v1.40.1", ""},
		{"four behind", "v1.41.0", "too old for kube-apiserver"},
		{"ahead", "v1.36.3", "newer than kube-apiserver at 192.0.2.1:6443, v1.36.3: upgrade the control plane first"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Versions{Boot: "v1.37.2", APIServers: map[string]string{"192.0.2.1:6443": c.server}}
			wantFinding(t, v.NodeSkew(), c.want)
		})
	}
}

// wantFinding wants one finding that stops, or none.
func wantFinding(t *testing.T, all []Finding, want string) {
	t.Helper()
	var stop []string
	for _, f := range all {
		if !f.Warning {
			stop = append(stop, f.String())
		}
	}
	if want == "" && len(stop) == 0 || len(stop) == 1 && want != "" && strings.Contains(stop[0], want) {
		return
	}
	t.Errorf("found %q, want %q", stop, want)
}
