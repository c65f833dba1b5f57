// Package admit decides whether a pod may run on this node beside those that
// do, and whom a critical pod may put out for its place. It is pure: who is
// asked first, what becomes of a pod that is rejected or put out, and when to
// ask again are left to others.
//
// What is checked, in which order, and the words of a rejection are the
// kubelet's: first what the node is up to and what it allows, then what the pod
// asks of the node itself, then what other pods hold. Static pods run whatever
// the taints of their node (SP-33), and under pressure (SP-32).
package admit

import (
	"cmp"
	"runtime"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// Node is what a node has for pods.
type Node struct {
	Name   string
	Labels map[string]string
	Taints []v1.Taint
	// Allocatable is what all pods may ask for together, "pods" among it. A
	// resource that is missing is not looked at: nothing is known of it.
	Allocatable v1.ResourceList
	// Devices is how many devices of each plugin's resource may be given out,
	// those given out already among them.
	Devices map[v1.ResourceName]int64

	// Pressure holds the conditions of pressure there are now.
	Pressure []v1.NodeConditionType
	// ShuttingDown is set once the node is on its way down: nothing starts.
	ShuttingDown bool

	// UnsafeSysctls are those that pods may set beside the safe ones; the last
	// character of one may be a "*".
	UnsafeSysctls []string
	// AppArmor is set where the host enforces AppArmor profiles.
	AppArmor bool
	// Features are those that the node declares; nil: nothing is known of them.
	Features []string
	// StrictGroups is set where the runtime knows supplementalGroupsPolicy.
	StrictGroups bool
}

// A Rejection says why a pod may not run, in the words of its status and event.
type Rejection struct {
	Reason  string // "NodePorts", "OutOfcpu", …
	Message string
}

// Check returns why p may not run beside others, which do; nil if it may. Mirrors
// among the others are pictures of pods and hold nothing (SP-58). That p lacks
// room which others would have to make counts too: see Victims.
func Check(p *v1.Pod, others []*v1.Pod, n Node) *Rejection {
	others = competing(p, others)
	return cmp.Or(
		checkPressure(p, n), checkSysctls(p, n), checkDevices(p, others, n),
		checkOS(p), checkGroups(p, n), checkRoom(p, others, n),
		checkAppArmor(p, n), checkFeatures(p, n), checkShutdown(n),
	)
}

// checkRoom checks what depends on the other pods, and what upstream's scheduler
// checks too. What a critical pod lacks is the last thing to say of it, since it
// may be taken from others; for all other pods it is the first.
func checkRoom(p *v1.Pod, others []*v1.Pod, n Node) *Rejection {
	lacks := lacking(p, others, n.Allocatable)
	inTheWay := cmp.Or(checkAffinity(p, n), checkName(p, n), checkPorts(p, others), checkTaints(p, n))
	switch {
	case pod.IsStatic(p), len(lacks) == 0:
		return cmp.Or(inTheWay, rejectionOf(lacks))
	case IsCritical(p):
		return cmp.Or(inTheWay, tooMuch(p, others, lacks))
	}
	return rejectionOf(lacks)
}

// competing returns those of the others that hold what p may not have too.
func competing(p *v1.Pod, others []*v1.Pod) []*v1.Pod {
	var all []*v1.Pod
	for _, o := range others {
		if !pod.IsMirror(o) && pod.KeyOf(o) != pod.KeyOf(p) { // it replaces what has its key (SP-38)
			all = append(all, o)
		}
	}
	return all
}

// checkOS compares the operating system of the pod with that of the node. The
// label of that name on the pod, not only a selector, counts too: so does the
// kubelet.
func checkOS(p *v1.Pod) *Rejection {
	if label, ok := p.Labels[v1.LabelOSStable]; ok && label != runtime.GOOS {
		return &Rejection{
			"PodOSSelectorNodeLabelDoesNotMatch",
			"Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
		}
	}
	if p.Spec.OS != nil && string(p.Spec.OS.Name) != runtime.GOOS {
		return &Rejection{"PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"}
	}
	return nil
}

// checkGroups holds back pods whose groups the runtime would get wrong.
func checkGroups(p *v1.Pod, n Node) *Rejection {
	s := p.Spec.SecurityContext
	if s == nil || s.SupplementalGroupsPolicy == nil || n.StrictGroups ||
		*s.SupplementalGroupsPolicy != v1.SupplementalGroupsPolicyStrict {
		return nil
	}
	return &Rejection{"SupplementalGroupsPolicyNotSupported", "SupplementalGroupsPolicy=Strict is not supported in this node"}
}
