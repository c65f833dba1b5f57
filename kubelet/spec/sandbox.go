package spec

import (
	"fmt"
	"maps"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// SandboxInput is what a sandbox needs beside pod and node.
type SandboxInput struct {
	Attempt      uint32
	LogDir       string // of the pod, see LogDir
	CgroupParent string
	ResolvConf   []byte // see DNS
	Users        pod.IDRange
	Seccomp      string // path of a profile made for sandboxes; "" for the runtime's default
}

// Sandbox returns the sandbox of p.
func Sandbox(p *v1.Pod, n Node, in SandboxInput) (*cri.PodSandboxConfig, error) {
	if err := checkUsers(p, in.Users); err != nil {
		return nil, err
	}
	hostname, err := sandboxHostname(p, n)
	if err != nil {
		return nil, err
	}
	dns, _, err := DNS(p, n, in.ResolvConf)
	if err != nil {
		return nil, err
	}
	return &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{
			Name: p.Name, Namespace: p.Namespace, Uid: string(p.UID), Attempt: in.Attempt,
		},
		Hostname:     hostname,
		LogDirectory: in.LogDir,
		DnsConfig:    dns,
		PortMappings: portMappings(p),
		Labels:       sandboxLabels(p),
		Annotations:  maps.Clone(p.Annotations),
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    in.CgroupParent,
			SecurityContext: sandboxSecurity(p, in),
			Sysctls:         sysctls(p),
			Overhead:        overhead(p, n),
			Resources:       podResources(p, n),
		},
	}, nil
}

// checkUsers keeps a pod that asks for users of its own from running with those
// of the node.
func checkUsers(p *v1.Pod, users pod.IDRange) error {
	if WantsUsers(p) != (users.Count > 0) {
		return fmt.Errorf("user namespace of %d IDs does not fit spec.hostUsers", users.Count)
	}
	return nil
}

const (
	maxHostname = 63 // of one DNS label
	maxFQDN     = 64 // of the kernel
)

// Hostname returns the name and, if it has a subdomain, the domain of p. Errors
// are in the words of upstream.
func Hostname(p *v1.Pod, n Node) (host, domain string, err error) {
	if o := p.Spec.HostnameOverride; o != nil {
		if wrong := validation.IsDNS1123Subdomain(*o); len(wrong) > 0 {
			return "", "", fmt.Errorf("pod HostnameOverride %q is not a valid DNS subdomain: %s", *o, strings.Join(wrong, ";"))
		}
		host, err = cutHostname(p, *o)
		return host, "", err
	}
	host = p.Name
	if p.Spec.Hostname != "" {
		if wrong := validation.IsDNS1123Label(p.Spec.Hostname); len(wrong) > 0 {
			return "", "", fmt.Errorf("pod Hostname %q is not a valid DNS label: %s", p.Spec.Hostname, strings.Join(wrong, ";"))
		}
		host = p.Spec.Hostname
	}
	if host, err = cutHostname(p, host); err != nil {
		return "", "", err
	}
	if p.Spec.Subdomain != "" {
		if wrong := validation.IsDNS1123Label(p.Spec.Subdomain); len(wrong) > 0 {
			return "", "", fmt.Errorf("pod Subdomain %q is not a valid DNS label: %s", p.Spec.Subdomain, strings.Join(wrong, ";"))
		}
		domain = fmt.Sprintf("%s.%s.svc.%s", p.Spec.Subdomain, p.Namespace, n.ClusterDomain)
	}
	return host, domain, nil
}

// cutHostname cuts a name to what the kernel takes and DNS allows.
func cutHostname(p *v1.Pod, host string) (string, error) {
	if len(host) <= maxHostname {
		return host, nil
	}
	cut := strings.TrimRight(host[:maxHostname], "-.")
	if cut == "" {
		return "", fmt.Errorf("hostname for pod %q was invalid: %q", p.Name, host)
	}
	return cut, nil
}

// sandboxHostname returns the name processes see: none of its own on the
// network of the node.
func sandboxHostname(p *v1.Pod, n Node) (string, error) {
	if pod.IsHostNetwork(p) {
		return "", nil
	}
	host, domain, err := Hostname(p, n)
	if err != nil || domain == "" || !isTrue(p.Spec.SetHostnameAsFQDN) {
		return host, err
	}
	fqdn := host + "." + domain
	if len(fqdn) > maxFQDN {
		return "", fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (%d characters is the max, %d characters requested)",
			fqdn, maxFQDN, len(fqdn))
	}
	return fqdn, nil
}

// portMappings returns the host ports of containers that run at the same time.
func portMappings(p *v1.Pod) []*cri.PortMapping {
	if pod.IsHostNetwork(p) {
		return nil
	}
	var all []*cri.PortMapping
	for _, d := range pod.Containers(p) {
		if d.Kind != pod.Regular && d.Kind != pod.Sidecar {
			continue
		}
		for _, port := range d.Ports {
			if port.HostPort > 0 {
				all = append(all, &cri.PortMapping{
					Protocol:      protocol(port.Protocol),
					ContainerPort: port.ContainerPort,
					HostPort:      port.HostPort,
					HostIp:        port.HostIP,
				})
			}
		}
	}
	return all
}

func protocol(p v1.Protocol) cri.Protocol {
	switch p {
	case v1.ProtocolUDP:
		return cri.Protocol_UDP
	case v1.ProtocolSCTP:
		return cri.Protocol_SCTP
	default:
		return cri.Protocol_TCP
	}
}

func sysctls(p *v1.Pod) map[string]string {
	if p.Spec.SecurityContext == nil || len(p.Spec.SecurityContext.Sysctls) == 0 {
		return nil
	}
	all := map[string]string{}
	for _, s := range p.Spec.SecurityContext.Sysctls {
		all[s.Name] = s.Value
	}
	return all
}

// sandboxSecurity returns the security of the sandbox itself. Its seccomp
// profile is never the pod's, so that a stricter one of that need not know what
// the sandbox does.
func sandboxSecurity(p *v1.Pod, in SandboxInput) *cri.LinuxSandboxSecurityContext {
	out := &cri.LinuxSandboxSecurityContext{
		Privileged:       anyPrivileged(p),
		NamespaceOptions: namespaces(p, in.Users),
		Seccomp:          &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault},
	}
	if in.Seccomp != "" {
		out.Seccomp = &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: in.Seccomp}
	}
	sc := p.Spec.SecurityContext
	if sc == nil {
		return out
	}
	out.RunAsUser = int64Value(sc.RunAsUser)
	out.RunAsGroup = int64Value(sc.RunAsGroup)
	out.SelinuxOptions = selinux(sc.SELinuxOptions)
	out.SupplementalGroups = groups(sc)
	out.SupplementalGroupsPolicy = groupsPolicy(sc)
	return out
}

// anyPrivileged reports whether the sandbox has to be privileged because one
// of its containers is.
func anyPrivileged(p *v1.Pod) bool {
	for _, d := range pod.Containers(p) {
		if d.SecurityContext != nil && isTrue(d.SecurityContext.Privileged) {
			return true
		}
	}
	return false
}
