package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"boot.internal/certs"
	"boot.internal/config"
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

// RotateStage returns the phases that bring this node to a stage, whether it is a
// control plane or not is told by the files that are there. Run again, they make
// what is left. They ask no API server, and replace pods of this node one at a time,
// each of which comes back as it was if it does not become healthy: running them is
// for whoever has the [RolloutTurn].
//
//	trust   the authorities' files and kubeconfigs trust both; the controller manager
//	        signs with a file of its own, since it takes no file with several
//	issue   the new keys sign, and all that this node holds is signed anew, along with
//	        the cross certificate; whoever only reads that at its start is replaced
//	drop    the old ones are trusted no more; whoever only reads that at its start is
//	        replaced
//
// Since everything is shown along with the cross certificate, pods that trust the old
// authority alone are not replaced before drop.
func RotateStage(o RotateOptions, stage RotationStage) ([]Step, error) {
	r, err := newRotation(o)
	if err != nil {
		return nil, err
	}
	switch stage {
	case RotationTrust:
		return r.trust(), nil
	case RotationIssue:
		return r.issue(), nil
	case RotationRenew:
		return nil, nil
	case RotationDrop:
		return r.drop(), nil
	default:
		return nil, fmt.Errorf("no stage of a rotation is called %q", string(stage))
	}
}

// A rotation is this node's part of one.
type rotation struct {
	RotateOptions
	turns []certs.Turn // of the authorities that this node has
	renew RenewOptions // knows what pods read
}

func newRotation(o RotateOptions) (rotation, error) {
	r := rotation{RotateOptions: o, renew: RenewOptions{Places: o.Places, Rollout: o.Rollout}}
	for _, a := range o.Rotation.Authorities {
		turn, err := certs.ParseTurn(a.Name, []byte(a.Old), []byte(a.New), []byte(a.Cross))
		if err != nil {
			return r, fmt.Errorf("read what the cluster says of the rotation: %w", err)
		}
		if r.has(turn.Files(o.Places).Cert) {
			r.turns = append(r.turns, turn)
		}
	}
	return r, nil
}

// has says whether a file is there. One that cannot be looked at is taken for there:
// whoever reads it will say why not.
func (r rotation) has(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// turn returns the one of an authority.
func (r rotation) turn(name string) (certs.Turn, bool) {
	i := slices.IndexFunc(r.turns, func(t certs.Turn) bool { return t.Name == name })
	if i < 0 {
		return certs.Turn{}, false
	}
	return r.turns[i], true
}

func (r rotation) trust() []Step {
	both := func(t certs.Turn) certs.Retrust { return t.Both }
	return slices.Concat([]Step{
		{"rotate/known", "See that the authorities are those that are rotated", PlanFunc(r.known)},
		{"rotate/trust", "Trust the old and the new authorities", r.retrust(both, always, config.ComponentControllerManager)},
		{"rotate/signing", "Have what the controller manager signs with in a file of its own", PlanFunc(r.signing)},
	}, r.restarts(config.ComponentControllerManager), r.accepts())
}

func (r rotation) issue() []Step {
	first := func(t certs.Turn) certs.Retrust { return t.NewFirst }
	steps := []Step{
		{"rotate/trusted", "See that the new authorities are trusted", PlanFunc(r.trusted)},
		{"rotate/keys", "Sign with the new authorities", PlanFunc(r.keys)},
		{"rotate/signing", "Have the controller manager sign with the new authority", PlanFunc(r.signing)},
		{"rotate/first", "Have the new authorities come first", r.retrust(first, bundles, config.ComponentControllerManager)},
	}
	held := r.own()
	for _, h := range held {
		steps = append(steps, Step{"renew/" + h.Name, "Have " + h.Name + " signed by the new authority", PlanFunc(func(context.Context) ([]Change, error) {
			return r.reissue(h.Name)
		})})
	}
	uses := r.renew
	uses.Held = held
	// Who is replaced anyway has not to be waited for.
	return slices.Concat(steps, r.restarts(config.ComponentControllerManager, config.ComponentScheduler), r.reconnects(), uses.uses())
}

func (r rotation) drop() []Step {
	only := func(t certs.Turn) certs.Retrust { return t.OnlyNew }
	return slices.Concat([]Step{
		{"rotate/complete", "See that nothing of this node is signed by an old authority", PlanFunc(r.complete)},
		{"rotate/drop", "Trust the new authorities alone", r.retrust(only, always, renewComponents()...)},
	}, r.restarts(renewComponents()...), r.accepts(), []Step{
		{"rotate/clean", "Remove what only the rotation needed", PlanFunc(r.clean)},
	})
}
