package volume

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// WriteHosts writes the file that containers of p see as /etc/hosts and returns
// its path. hostname is the pod's, without a domain. A pod on the host network
// gets the node's own file, and no line for itself; ips may be empty then.
func (v *Volumes) WriteHosts(p *v1.Pod, ips []string, hostname string) (string, error) {
	if err := checkElement(string(p.UID)); err != nil {
		return "", fmt.Errorf("write hosts file of %s: %w", pod.KeyOf(p), err)
	}
	content, err := v.hosts(p, ips, hostname)
	if err != nil {
		return "", fmt.Errorf("write hosts file of %s: %w", pod.KeyOf(p), err)
	}
	path := filepath.Join(v.podDir(p.UID), "etc-hosts")
	if err := replaceFile(path, content); err != nil {
		return "", fmt.Errorf("write hosts file of %s: %w", pod.KeyOf(p), err)
	}
	return path, nil
}

// hosts returns the content of the hosts file of a pod.
func (v *Volumes) hosts(p *v1.Pod, ips []string, hostname string) ([]byte, error) {
	var b bytes.Buffer
	if pod.IsHostNetwork(p) {
		node, err := os.ReadFile(v.HostsFile)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		b.WriteString("# Kubernetes-managed hosts file (host network).\n")
		b.Write(node)
	} else {
		b.WriteString(managedHosts)
		names := hostname
		if p.Spec.Subdomain != "" {
			domain := strings.Join([]string{p.Spec.Subdomain, p.Namespace, "svc", v.ClusterDomain}, ".")
			names = hostname + "." + strings.TrimSuffix(domain, ".") + "\t" + hostname
		}
		for _, ip := range ips {
			fmt.Fprintf(&b, "%s\t%s\n", ip, names)
		}
	}
	if len(p.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
	}
	for _, a := range p.Spec.HostAliases {
		fmt.Fprintf(&b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
	return b.Bytes(), nil
}

// managedHosts begins the hosts file of pods with a network of their own.
const managedHosts = `# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
fe00::0	ip6-mcastprefix
fe00::1	ip6-allnodes
fe00::2	ip6-allrouters
`

// replaceFile replaces a file that every start of a container makes again, so
// that syncing it to disk would only cost time. One that is right is kept:
// running containers have it mounted.
func replaceFile(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	fresh := path + ".new"
	if err := os.WriteFile(fresh, data, 0o644); err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o644); err != nil { // whatever the umask
		return err
	}
	return os.Rename(fresh, path)
}
