package spec

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// Limits of resolv.conf(5) and of the API.
const (
	maxServers     = 3
	maxSearches    = 32
	maxSearchChars = 2048
)

// DNS returns how names are resolved in p, by its DNS policy. resolvConf is
// what the node's own resolv.conf holds.
func DNS(p *v1.Pod, n Node, resolvConf []byte) (*cri.DNSConfig, error) {
	host := parseResolvConf(resolvConf)
	var out *cri.DNSConfig
	switch p.Spec.DNSPolicy {
	case v1.DNSNone:
		out = &cri.DNSConfig{}
	case v1.DNSDefault:
		out = host
	case v1.DNSClusterFirstWithHostNet:
		out = clusterDNS(p, n, host)
	case v1.DNSClusterFirst, "":
		out = host
		if !pod.IsHostNetwork(p) {
			out = clusterDNS(p, n, host)
		}
	default:
		return nil, fmt.Errorf("DNS policy %q is unknown", p.Spec.DNSPolicy)
	}
	merge(out, p.Spec.DNSConfig)
	limit(out)
	return out, nil
}

// clusterDNS resolves by the cluster's DNS first. A node that knows of none
// can only pass on what it has itself.
func clusterDNS(p *v1.Pod, n Node, host *cri.DNSConfig) *cri.DNSConfig {
	if len(n.ClusterDNS) == 0 {
		return host
	}
	out := &cri.DNSConfig{Servers: slices.Clone(n.ClusterDNS), Options: []string{"ndots:5"}}
	if n.ClusterDomain != "" {
		svc := "svc." + n.ClusterDomain
		out.Searches = []string{p.Namespace + "." + svc, svc, n.ClusterDomain}
	}
	out.Searches = union(out.Searches, host.Searches)
	return out
}

// merge adds what the pod itself asks for.
func merge(out *cri.DNSConfig, c *v1.PodDNSConfig) {
	if c == nil {
		return
	}
	out.Servers = union(out.Servers, c.Nameservers)
	out.Searches = union(out.Searches, c.Searches)
	for _, o := range c.Options {
		line := o.Name
		if o.Value != nil && *o.Value != "" {
			line += ":" + *o.Value
		}
		// An option of the pod takes the place of the same one from elsewhere.
		out.Options = slices.DeleteFunc(out.Options, func(have string) bool {
			name, _, _ := strings.Cut(have, ":")
			return name == o.Name
		})
		out.Options = append(out.Options, line)
	}
}

// limit cuts what the resolver would not read.
func limit(c *cri.DNSConfig) {
	c.Servers = c.Servers[:min(len(c.Servers), maxServers)]
	c.Searches = c.Searches[:min(len(c.Searches), maxSearches)]
	for len(strings.Join(c.Searches, " ")) > maxSearchChars {
		c.Searches = c.Searches[:len(c.Searches)-1]
	}
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// parseResolvConf reads resolv.conf(5): of "search" and "options" the last
// line wins, of "nameserver" all count.
func parseResolvConf(data []byte) *cri.DNSConfig {
	out := &cri.DNSConfig{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			out.Servers = append(out.Servers, fields[1])
		case "search":
			out.Searches = searches(fields[1:])
		case "options":
			out.Options = union(nil, fields[1:])
		}
	}
	return out
}

// searches drops the dot that ends absolute domains, but keeps the root.
func searches(fields []string) []string {
	var out []string
	for _, s := range fields {
		if s != "." {
			s = strings.TrimSuffix(s, ".")
		}
		out = append(out, s)
	}
	return out
}
