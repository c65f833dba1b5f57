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
	maxSearch      = 253 // of one domain: longer ones crash some resolvers
)

// A Warning is an event that tells the owner of a pod what became of a wish.
type Warning struct{ Reason, Message string }

// DNS returns how names are resolved in p, by its DNS policy, and what of that
// is not as asked for. resolvConf is what the node's own resolv.conf holds; nil
// means that pods inherit none, and resolve by what listens beside them.
func DNS(p *v1.Pod, n Node, resolvConf []byte) (*cri.DNSConfig, []Warning, error) {
	var warnings []Warning
	var out *cri.DNSConfig
	switch policy := p.Spec.DNSPolicy; {
	case policy == v1.DNSNone:
		out = &cri.DNSConfig{}
	case policy == v1.DNSDefault, policy == v1.DNSClusterFirst && pod.IsHostNetwork(p), policy == "" && pod.IsHostNetwork(p):
		out = hostDNS(n, resolvConf)
	case policy == v1.DNSClusterFirst, policy == v1.DNSClusterFirstWithHostNet, policy == "":
		if len(n.ClusterDNS) == 0 {
			out = hostDNS(n, resolvConf)
			warnings = append(warnings, noClusterDNS(p))
			break
		}
		out = clusterDNS(p, n, parseResolvConf(resolvConf))
	default:
		return nil, nil, fmt.Errorf("invalid DNSPolicy=%s", policy)
	}
	merge(out, p.Spec.DNSConfig)
	return out, append(warnings, limit(out)...), nil
}

// noClusterDNS says that the node knows of no DNS of the cluster, and can only
// pass on what it has itself.
func noClusterDNS(p *v1.Pod) Warning {
	return Warning{"MissingClusterDNS", fmt.Sprintf(
		"pod: %q. kubelet does not have ClusterDNS IP configured and cannot create Pod using %q policy. Falling back to %q policy.",
		podName(p), v1.DNSClusterFirst, v1.DNSDefault)}
}

// hostDNS resolves as the node does.
func hostDNS(n Node, resolvConf []byte) *cri.DNSConfig {
	if resolvConf != nil {
		return parseResolvConf(resolvConf)
	}
	out := &cri.DNSConfig{Searches: []string{"."}}
	for _, ip := range n.IPs {
		local := "127.0.0.1"
		if strings.Contains(ip, ":") {
			local = "::1"
		}
		out.Servers = union(out.Servers, []string{local})
	}
	if len(out.Servers) == 0 {
		out.Servers = []string{"127.0.0.1"}
	}
	return out
}

// clusterDNS resolves by the cluster's DNS alone, which knows what to ask for
// names of elsewhere.
func clusterDNS(p *v1.Pod, n Node, host *cri.DNSConfig) *cri.DNSConfig {
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
		out.Options = setOption(out.Options, line)
	}
}

// setOption adds an option, in place of the same one from elsewhere.
func setOption(options []string, line string) []string {
	name, _, _ := strings.Cut(line, ":")
	options = slices.DeleteFunc(options, func(have string) bool {
		old, _, _ := strings.Cut(have, ":")
		return old == name
	})
	return append(options, line)
}

// limit cuts what the resolver would not read, and says so.
func limit(c *cri.DNSConfig) []Warning {
	const reason = "DNSConfigForming"
	var warnings []Warning
	if len(c.Servers) > maxServers {
		c.Servers = c.Servers[:maxServers]
		warnings = append(warnings, Warning{reason, "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: " + strings.Join(c.Servers, " ")})
	}
	asked := len(c.Searches)
	c.Searches = c.Searches[:min(asked, maxSearches)]
	c.Searches = slices.DeleteFunc(c.Searches, func(s string) bool { return len(s) > maxSearch })
	for len(strings.Join(c.Searches, " ")) > maxSearchChars {
		c.Searches = c.Searches[:len(c.Searches)-1]
	}
	if len(c.Searches) < asked {
		warnings = append(warnings, Warning{reason, "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: " + strings.Join(c.Searches, " ")})
	}
	return warnings
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// parseResolvConf reads resolv.conf(5): of "search" the last line wins, of each
// option the last of its name, of "nameserver" all count.
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
			for _, o := range fields[1:] {
				out.Options = setOption(out.Options, o)
			}
		}
	}
	return out
}

// searches drops the dot that ends absolute domains, and the root, which is
// searched anyway.
func searches(fields []string) []string {
	var out []string
	for _, s := range fields {
		if s != "." {
			out = append(out, strings.TrimSuffix(s, "."))
		}
	}
	return out
}
