package admit

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	declared "k8s.io/component-helpers/nodedeclaredfeatures"
	"k8s.io/component-helpers/nodedeclaredfeatures/features"
)

// checkFeatures turns away pods that need what this kind of node cannot do
// (KEP-5328). The scheduler would not have sent them.
func checkFeatures(p *v1.Pod, n Node) *Rejection {
	if n.Features == nil {
		return nil
	}
	var missing []string
	for _, f := range features.AllFeatures {
		if f.InferForScheduling(&declared.PodInfo{Spec: &p.Spec, Status: &p.Status}) && !slices.Contains(n.Features, f.Name()) {
			missing = append(missing, f.Name())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return &Rejection{"PodFeatureUnsupported", "Pod requires node features that are not available: " + strings.Join(missing, ", ")}
}
