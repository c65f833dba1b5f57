package phases

import (
	"boot.internal/certs"
)

// A RotationStage is how far the rotation of authorities has come. All nodes end
// one before the first begins the next.
type RotationStage string

// The stages, in order.
const (
	RotationTrust RotationStage = "trust" // everybody trusts the old and the new authority
	RotationIssue RotationStage = "issue" // control planes sign with the new one, and have all of theirs signed by it
	RotationRenew RotationStage = "renew" // nodes have their certificates signed anew, which is not the business of phases
	RotationDrop  RotationStage = "drop"  // nobody trusts the old one any more
)

// A Rotation is what the nodes of a cluster are told of authorities that are
// rotated. It holds nothing secret.
type Rotation struct {
	ID          string             `json:"id"` // of this rotation and no other
	Authorities []RotatedAuthority `json:"authorities"`
}

// A RotatedAuthority is one that another takes the place of, in PEM; see
// [certs.Succession].
type RotatedAuthority struct {
	Name  string `json:"name"` // "ca", "front-proxy-ca" or "etcd-ca"
	Old   string `json:"old"`
	New   string `json:"new"`
	Cross string `json:"cross"`
}

// RotateOptions are the values that this node's part of a rotation is done with.
type RotateOptions struct {
	Places   certs.Places
	Rollout  RolloutOptions // how pods are replaced that only read what changes at their start
	Rotation Rotation
	// Keys are those of the new authorities by name, in PEM: secrets, which a control
	// plane needs for [RotationIssue] unless it has them in place already.
	Keys map[string][]byte
}
