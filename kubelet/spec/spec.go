// Package spec translates a pod into the messages of the container runtime
// interface: a sandbox and its containers, with environment, mounts, name
// resolution, security and resources. Its functions are pure. It decides what
// the messages say and leaves it to others to read files, pull images, make
// volumes and cgroups, and call the runtime.
package spec

import (
	"maps"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/memory"
	"boot.internal/kubelet/pod"
)

// Node holds the facts of the node that pods get to see or are measured by.
type Node struct {
	Name string
	IPs  []string // the primary address first

	ClusterDNS    []string
	ClusterDomain string

	// Allocatable stands in for the limits a container does not set, where it
	// asks for them in its environment.
	Allocatable v1.ResourceList
	// Memory is the capacity in bytes, the measure of oom_score_adj.
	Memory int64
	// CPUPeriod is the CFS period; 0 means that CPU limits are not enforced.
	CPUPeriod time.Duration
	// CPUs returns on which CPUs a container is to run, such as "0-3,8", and whether
	// nobody else does; nil: on all, as all do.
	CPUs func(p types.UID, container string) (cpus string, alone bool)
	// HugePageSizes are the sizes the node supports, such as "2MB": each is
	// limited for each container.
	HugePageSizes []string
	// Unified says that containers are limited by cgroup v2.
	Unified bool
	// OOMGroup makes the kernel kill all of a container at once when it runs
	// out of memory. Only cgroup v2 can.
	OOMGroup bool
	Swap     Swap
	// Keep is how memory is kept for containers. Only cgroup v2 can.
	Keep memory.Policy

	// RecursiveReadOnly names the runtime handlers that can mount volumes
	// read-only with all that is mounted below them.
	RecursiveReadOnly map[string]bool
	// UserNamespaces names the runtime handlers that can give pods users of
	// their own (KEP-127).
	UserNamespaces map[string]bool

	// MaskedPaths are those of this node that containers do not get to see,
	// beside those of every node.
	MaskedPaths []string

	SeccompDir     string // where Localhost profiles are
	SeccompDefault bool   // RuntimeDefault rather than Unconfined where a pod does not say
}

// PrimaryIP returns the node's first address, "" while it has none.
func (n Node) PrimaryIP() string {
	if len(n.IPs) == 0 {
		return ""
	}
	return n.IPs[0]
}

// LogDir returns the directory of a pod's container logs below root, which is
// /var/log/pods.
func LogDir(root string, p *v1.Pod) string {
	return filepath.Join(root, strings.Join([]string{p.Namespace, p.Name, string(p.UID)}, "_"))
}

// podLabels returns what names the pod of a CRI object.
func podLabels(p *v1.Pod) map[string]string {
	return map[string]string{
		pod.LabelPodName:      p.Name,
		pod.LabelPodNamespace: p.Namespace,
		pod.LabelPodUID:       string(p.UID),
	}
}

// sandboxLabels returns the pod's own labels and the kubelet's above them.
func sandboxLabels(p *v1.Pod) map[string]string {
	all := maps.Clone(p.Labels)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, podLabels(p))
	return all
}

// WantsUsers reports whether p is to have users of its own.
func WantsUsers(p *v1.Pod) bool { return p.Spec.HostUsers != nil && !*p.Spec.HostUsers }

// namespaces returns which namespaces of the node or the pod are shared.
func namespaces(p *v1.Pod, users pod.IDRange) *cri.NamespaceOption {
	o := &cri.NamespaceOption{Network: cri.NamespaceMode_POD, Pid: cri.NamespaceMode_CONTAINER, Ipc: cri.NamespaceMode_POD}
	o.UsernsOptions = &cri.UserNamespace{Mode: cri.NamespaceMode_NODE}
	if users.Count > 0 {
		o.UsernsOptions = &cri.UserNamespace{Mode: cri.NamespaceMode_POD, Uids: idMapping(users), Gids: idMapping(users)}
	}
	if pod.IsHostNetwork(p) {
		o.Network = cri.NamespaceMode_NODE
	}
	switch {
	case p.Spec.HostPID:
		o.Pid = cri.NamespaceMode_NODE
	case isTrue(p.Spec.ShareProcessNamespace):
		o.Pid = cri.NamespaceMode_POD
	}
	if p.Spec.HostIPC {
		o.Ipc = cri.NamespaceMode_NODE
	}
	return o
}

// idMapping maps the users of a pod, from 0, to those of the node.
func idMapping(users pod.IDRange) []*cri.IDMapping {
	if users.Count == 0 {
		return nil
	}
	return []*cri.IDMapping{{HostId: users.First, Length: users.Count}}
}

func isTrue(b *bool) bool { return b != nil && *b }

func int64Value(v *int64) *cri.Int64Value {
	if v == nil {
		return nil
	}
	return &cri.Int64Value{Value: *v}
}
