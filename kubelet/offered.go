package kubelet

import (
	"maps"
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/node"
)

// offer changes what there is for pods. When that makes a difference, what was
// rejected may be admitted.
func (k *kubelet) offer(change func(*admit.Node)) {
	k.offering.Lock()
	defer k.offering.Unlock()
	old := k.offers.Load()
	now := admit.Node{Name: k.o.Node, UnsafeSysctls: k.o.Config.AllowedUnsafeSysctls, AppArmor: hasAppArmor(), Features: node.DeclaredFeatures()}
	if old != nil {
		now = *old
	}
	change(&now)
	k.offers.Store(&now)
	if old == nil || !equality.Semantic.DeepEqual(*old, now) {
		k.dispatch.recheck()
	}
}

// offered returns what there is for pods now.
func (k *kubelet) offered() admit.Node {
	n := *k.offers.Load()
	if s := k.engine.Load(); s != nil && s.Features != nil {
		n.StrictGroups = ptr.Deref(s.Features.SupplementalGroupsPolicy, false)
	}
	return n
}

// taintsOf returns the taints of the Node object, if there is one.
func taintsOf(n *v1.Node) []v1.Taint {
	if n == nil {
		return nil
	}
	return n.Spec.Taints
}

// withExtended adds to what the machine has what others have put on the Node:
// extended resources without a plugin.
func withExtended(own v1.ResourceList, n *v1.Node) v1.ResourceList {
	if n == nil {
		return own
	}
	all := maps.Clone(own)
	for name, q := range n.Status.Allocatable {
		if _, mine := own[name]; !mine && isExtended(name) {
			all[name] = q
		}
	}
	return all
}

// isExtended reports whether a resource is none that Kubernetes itself knows.
func isExtended(name v1.ResourceName) bool {
	domain, _, found := strings.Cut(string(name), "/")
	return found && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io")
}

// hasAppArmor reports whether the kernel enforces AppArmor profiles.
func hasAppArmor() bool {
	data, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(data), "Y")
}
