package admit

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/node/util/sysctl"
)

// safeSysctls are in a namespace of the pod and affect nothing outside of it.
// All are in the kernels since 4.15, which is older than any that Kubernetes
// still supports.
//
//nolint:gochecknoglobals // a constant table
var safeSysctls = []string{
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_notsent_lowat",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_slow_start_after_idle",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}

// SysctlPattern returns why a pattern cannot be one of Node.UnsafeSysctls: only
// what the kernel keeps per namespace can be let to pods.
func SysctlPattern(pattern string) error {
	if space, name, _ := sysctl.GetNamespace(pattern); space == sysctl.UnknownNamespace {
		return fmt.Errorf("the sysctls %q are not known to be namespaced", name)
	}
	return nil
}

// checkSysctls holds what the pod sets of the kernel against what it may.
func checkSysctls(p *v1.Pod, n Node) *Rejection {
	if p.Spec.SecurityContext == nil {
		return nil
	}
	for _, s := range p.Spec.SecurityContext.Sysctls {
		if err := allowed(sysctl.NormalizeName(s.Name), p, n.UnsafeSysctls); err != nil {
			return &Rejection{"SysctlForbidden", "forbidden sysctl: " + err.Error()}
		}
	}
	return nil
}

// allowed returns why a pod may not set a sysctl.
func allowed(name string, p *v1.Pod, unsafe []string) error {
	for _, pattern := range slices.Concat(safeSysctls, unsafe) {
		space, prefix, isPrefix := sysctl.GetNamespace(pattern)
		if name != prefix && (!isPrefix || !strings.HasPrefix(name, prefix)) {
			continue
		}
		if shares(p, space) {
			return fmt.Errorf("%q not allowed with host %s enabled", name, space)
		}
		return nil
	}
	return fmt.Errorf("%q not allowlisted", name)
}

// shares reports whether a pod has a namespace of the node for its own.
func shares(p *v1.Pod, space sysctl.Namespace) bool {
	switch space {
	case sysctl.NetNamespace:
		return p.Spec.HostNetwork
	case sysctl.IPCNamespace:
		return p.Spec.HostIPC
	case sysctl.UserNamespace:
		return p.Spec.HostUsers == nil || *p.Spec.HostUsers
	}
	return false
}
