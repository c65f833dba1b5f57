package manifest

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// seenLayout has nine fixed fraction digits (SP-24).
const seenLayout = "2006-01-02T15:04:05.000000000Z07:00"

// identify makes p the static pod of its node (SP-21 to SP-26). doc is the
// document as the user wrote it.
func identify(p *v1.Pod, doc []byte, o Origin) error {
	hash, err := pod.UID(doc, o.Node, o.Place)
	if err != nil {
		return err
	}
	if p.UID == "" {
		p.UID = hash
	}
	p.Name += "-" + strings.ToLower(o.Node)
	if p.Namespace == "" {
		p.Namespace = v1.NamespaceDefault
	}
	p.Spec.NodeName = o.Node
	p.Status = v1.PodStatus{Phase: v1.PodPending}
	annotate(p, string(hash), o)
	if o.Source == pod.SourceFile {
		tolerateNoExecute(p)
	}
	resolvePriority(p)
	return nil
}

func annotate(p *v1.Pod, hash string, o Origin) {
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	delete(p.Annotations, pod.ConfigMirror) // a static pod is no mirror, whatever was pasted
	p.Annotations[pod.ConfigHash] = hash
	p.Annotations[pod.ConfigSource] = o.Source
	p.Annotations[pod.ConfigSeen] = o.Seen.Format(seenLayout)
}

// tolerateNoExecute keeps taints from evicting a file's pod (SP-25).
func tolerateNoExecute(p *v1.Pod) {
	all := v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
	i := slices.IndexFunc(p.Spec.Tolerations, func(t v1.Toleration) bool {
		return t.Key == "" && t.Value == "" && t.Operator == all.Operator && t.Effect == all.Effect
	})
	if i >= 0 {
		p.Spec.Tolerations[i] = all
		return
	}
	p.Spec.Tolerations = append(p.Spec.Tolerations, all)
}

// The priority classes every cluster has (pkg/apis/scheduling).
const (
	nodeCritical            = "system-node-critical"
	clusterCritical         = "system-cluster-critical"
	nodeCriticalPriority    = int32(2000001000)
	clusterCriticalPriority = int32(2000000000)
)

// resolvePriority fills in the number of the two classes every cluster has, so
// that the order of shutdown does not need an API server (SP-26).
func resolvePriority(p *v1.Pod) {
	if p.Spec.Priority != nil {
		return
	}
	var n int32
	switch p.Spec.PriorityClassName {
	case nodeCritical:
		n = nodeCriticalPriority
	case clusterCritical:
		n = clusterCriticalPriority
	default:
		return
	}
	p.Spec.Priority = &n
}

// priorityIssues warns of priorities that the API server may not accept for
// the mirror, or that do not protect the pod (SP-26).
func priorityIssues(p *v1.Pod) []Issue {
	class, n := p.Spec.PriorityClassName, p.Spec.Priority
	switch {
	case n == nil && class == "":
		return nil
	case n == nil:
		return []Issue{{
			Field:   "spec.priorityClassName",
			Message: "its number is known to the API server alone; on this node the pod counts as priority 0, and its mirror may be refused",
			Hint:    "write spec.priority too, or use " + nodeCritical,
		}}
	case class == "":
		return []Issue{{
			Field:   "spec.priority",
			Message: "the mirror is refused unless the default priority class has this very number",
			Hint:    "write spec.priorityClassName too",
		}}
	case *n != nodeCriticalPriority || class != nodeCritical:
		return []Issue{{
			Field:   "spec.priorityClassName",
			Message: "only " + nodeCritical + " keeps others from trying, in vain, to evict the mirror",
		}}
	}
	return nil
}
