package pod

import "k8s.io/apimachinery/pkg/types"

// A Sync is one go of a worker at a pod: the actions of one plan, or giving back
// what the pod held.
type Sync struct {
	Key  Key
	UID  types.UID
	Kind SyncKind
}

// A SyncKind says what a go at a pod is for.
type SyncKind string

// What a worker goes at a pod for.
const (
	SyncCreate      SyncKind = "create"      // nothing is there of it yet
	SyncUpdate      SyncKind = "update"      // it is wanted otherwise than before
	SyncKeep        SyncKind = "sync"        // it is not, or no longer, as it is wanted
	SyncTerminating SyncKind = "terminating" // its containers end
	SyncTerminated  SyncKind = "terminated"  // what it held is given back
)
