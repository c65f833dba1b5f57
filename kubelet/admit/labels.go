package admit

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"boot.internal/kubelet/pod"
)

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

// checkName turns away pods of other nodes. One without a node is meant for
// whoever has it.
func checkName(p *v1.Pod, n Node) *Rejection {
	if p.Spec.NodeName != "" && p.Spec.NodeName != n.Name {
		return predicate("NodeName", "node(s) didn't match the requested node name")
	}
	return nil
}

// checkTaints turns away pods that would be evicted by the taint manager at
// once. Other effects are the scheduler's business.
func checkTaints(p *v1.Pod, n Node) *Rejection {
	if pod.IsStatic(p) { // SP-33
		return nil
	}
	for _, t := range n.Taints {
		if t.Effect == v1.TaintEffectNoExecute && !tolerates(p, t) {
			return predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")
		}
	}
	return nil
}

func tolerates(p *v1.Pod, t v1.Taint) bool {
	return slices.ContainsFunc(p.Spec.Tolerations, func(is v1.Toleration) bool {
		switch {
		case is.Effect != "" && is.Effect != t.Effect, is.Key != "" && is.Key != t.Key:
			return false
		case is.Operator == v1.TolerationOpExists:
			return true
		}
		return (is.Operator == "" || is.Operator == v1.TolerationOpEqual) && is.Key != "" && is.Value == t.Value
	})
}

func predicate(name, why string) *Rejection {
	return &Rejection{name, "Predicate " + name + " failed: " + why}
}
