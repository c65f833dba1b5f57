package spec

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// ownHosts is what every /etc/hosts begins with.
const ownHosts = `# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
fe00::0	ip6-mcastprefix
fe00::1	ip6-allnodes
fe00::2	ip6-allrouters
`

// Hosts returns the content of /etc/hosts in the containers of p, or nil where
// the runtime's copy of the node's file is all they need.
func Hosts(p *v1.Pod, n Node, podIPs []string, nodeHosts []byte) ([]byte, error) {
	var out strings.Builder
	if pod.IsHostNetwork(p) {
		if len(p.Spec.HostAliases) == 0 {
			return nil, nil
		}
		out.WriteString("# Kubernetes-managed hosts file (host network).\n")
		out.Write(nodeHosts)
	} else {
		host, domain, err := Hostname(p, n)
		if err != nil {
			return nil, err
		}
		out.WriteString(ownHosts)
		for _, ip := range podIPs {
			if domain != "" {
				fmt.Fprintf(&out, "%s\t%s.%s\t%s\n", ip, host, domain, host)
			} else {
				fmt.Fprintf(&out, "%s\t%s\n", ip, host)
			}
		}
	}
	if len(p.Spec.HostAliases) > 0 {
		out.WriteString("\n# Entries added by HostAliases.\n")
	}
	for _, a := range p.Spec.HostAliases {
		fmt.Fprintf(&out, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
	return []byte(out.String()), nil
}
