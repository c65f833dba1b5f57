package node

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Conditions returns the conditions of the node as they would be reported now,
// whether or not there is an API server to hear of them.
func (k *Keeper) Conditions() []v1.NodeCondition {
	var known v1.NodeStatus
	if n := k.Node(); n != nil {
		known = n.Status
	}
	return k.status(known, time.Now()).Conditions
}
