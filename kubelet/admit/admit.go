// Package admit decides whether a pod may run on this node beside those that
// do. It is a pure function of the pods and the node: who is asked first, what
// becomes of a pod that is rejected, and when to ask again are left to others.
//
// What is checked, and the words of a rejection, are the kubelet's: first what
// the pod asks of the node itself (operating system, labels), then what other
// pods hold (ports, resources). Taints are not looked at: static pods run
// whatever the taints of their node (SP-33), and others do not get here yet.
package admit

import (
	"cmp"
	"runtime"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"boot.internal/kubelet/pod"
)

// Node is what a node has for pods.
type Node struct {
	Name   string
	Labels map[string]string
	// Allocatable is what all pods may ask for together, "pods" among it. A
	// resource that is missing is not looked at: nothing is known of it.
	Allocatable v1.ResourceList
}

// A Rejection says why a pod may not run, in the words of its status and event.
type Rejection struct {
	Reason  string // "NodePorts", "OutOfcpu", …
	Message string
}

// Check returns why p may not run beside others, which do; nil if it may. Mirrors
// among the others are pictures of pods and hold nothing (SP-58).
func Check(p *v1.Pod, others []*v1.Pod, n Node) *Rejection {
	others = competing(p, others)
	return cmp.Or(checkOS(p), checkAffinity(p, n), checkPorts(p, others), checkResources(p, others, n.Allocatable))
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

// checkAffinity holds the labels of the node against the node selector and the
// required node affinity of the pod. A selector that cannot be read matches no
// node.
func checkAffinity(p *v1.Pod, n Node) *Rejection {
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: n.Labels}}
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(p).Match(node); !ok || err != nil {
		return predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
	}
	return nil
}

func predicate(name, why string) *Rejection {
	return &Rejection{name, "Predicate " + name + " failed: " + why}
}
