package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"

	"boot.internal/certs"
	"boot.internal/etcd"
)

// The names of authorities, as users know them.
const (
	RotateCluster    = "ca"
	RotateFrontProxy = "front-proxy-ca"
	RotateEtcd       = "etcd-ca"
)

// ConductOptions are the values that the authorities of a cluster are rotated with.
type ConductOptions struct {
	// Client makes a client of the administrator, of the API server of this node. It
	// is called again and again: what it is made of changes on the way.
	Client func() (kubernetes.Interface, error)
	// State is the directory of what boot keeps for itself.
	State string
	// Node is the name of this node, a control plane.
	Node string
	PKI  certs.Paths
	// Authorities are the names of those to rotate, if no rotation is under way.
	Authorities []string
	// Skip are the names of nodes that the user sees to.
	Skip []string
	// Timeout is how long the nodes that are told at the same time may take to get to
	// a stage; 0: a quarter of an hour.
	Timeout time.Duration
	// Members are those of etcd; nil if somebody else runs that.
	Members *etcd.Cluster
	// Ignore are the checks that stop nothing.
	Ignore []string
}

// conductTimeout outlasts the replacement of all static pods of a control plane.
const conductTimeout = 15 * time.Minute

// A conductor has the nodes of a cluster get from stage to stage of a rotation.
//
//	made      the new authorities lie here, and nobody knows of them
//	published the ConfigMap tells all nodes
//	trust     ─┐
//	issue      │ every node is told, does its part and answers; only when all have
//	renew      │ answered does the next stage begin
//	drop      ─┘
//	done      what was only for the rotation goes, the ConfigMap last
//
// What there is of this is read anew before each step, from this node's disk and
// from the cluster. So it does not matter where the run before was killed.
type conductor struct{ ConductOptions }

// Conduct returns the phases that rotate authorities on all nodes of a cluster, or
// go on with a rotation that is under way. They run on a control plane, whose own
// part is its loop's like that of all others.
func Conduct(o ConductOptions) []Step {
	if o.Timeout == 0 {
		o.Timeout = conductTimeout
	}
	c := conductor{o}
	return slices.Concat([]Step{
		{"preflight", "See that the cluster is fit for it", PlanFunc(c.preflight)},
		{"authorities", "Make the new authorities", PlanFunc(c.authorities)},
		{"publish", "Tell the nodes what is rotated", PlanFunc(c.publish)},
		{"cluster-info/both", "Have nodes that join trust both", c.clusterInfo(RotationTrust)},
	}, c.stage(RotationTrust), []Step{
		{"seal", "Hand the new keys to the control planes", PlanFunc(c.seal)},
	}, c.stage(RotationIssue), c.stage(RotationRenew), []Step{
		{"cluster-info/new", "Have nodes that join trust the new ones", c.clusterInfo(RotationDrop)},
	}, c.stage(RotationDrop), []Step{
		{"clients", "Have the API servers tell anew whom they trust", PlanFunc(c.clients)},
		{"finish", "Remove what only the rotation needed", PlanFunc(c.finish)},
	})
}

// stage returns the steps of one stage.
func (c conductor) stage(s RotationStage) []Step {
	if s == RotationRenew {
		return []Step{{string(s) + "/nodes", "Have the node agents ask for their certificates again", c.nodesTo(s, everybody)}}
	}
	steps := []Step{{string(s) + "/control-planes", "Control planes, one after the other: " + aim(s), c.nodesTo(s, controlPlanes)}}
	if s == RotationIssue { // workers sign nothing
		return steps
	}
	return append(steps, Step{string(s) + "/workers", "Workers: " + aim(s), c.nodesTo(s, workers)})
}

// aim is what a stage is for.
func aim(s RotationStage) string {
	return map[RotationStage]string{
		RotationTrust: "trust the old and the new authorities",
		RotationIssue: "sign with the new authorities, and have all certificates signed by them",
		RotationRenew: "ask for the certificates of the node agent again",
		RotationDrop:  "trust the old authorities no more",
	}[s]
}

// call asks the API server of this node, which may be about to be replaced.
func (c conductor) call(ctx context.Context, do func(context.Context, kubernetes.Interface) error) error {
	return until(ctx, c.Timeout, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		client, err := c.Client()
		if err == nil {
			err = do(ctx, client)
		}
		return err == nil || !again(err), err
	})
}

// again says whether a call that failed is worth another: files are being replaced,
// and servers started again, which at first know no rules.
func again(err error) bool {
	return notThereYet(err) || readAgain(err) || apierrors.IsForbidden(err)
}

// rotates says whether an authority is among those of a rotation.
func (r Rotation) rotates(name string) bool {
	return slices.ContainsFunc(r.Authorities, func(a RotatedAuthority) bool { return a.Name == name })
}

// names are those of the authorities of a rotation.
func (r Rotation) names() string {
	var all []string
	for _, a := range r.Authorities {
		all = append(all, a.Name)
	}
	return strings.Join(all, ", ")
}

// pair returns the files of an authority.
func (c conductor) pair(name string) (certs.Pair, error) {
	files, ok := map[string]certs.Pair{RotateCluster: c.PKI.CA, RotateFrontProxy: c.PKI.FrontProxyCA, RotateEtcd: c.PKI.EtcdCA}[name]
	if !ok {
		return files, fmt.Errorf("no authority is called %q", name)
	}
	return files, nil
}

// errNobodyTold is what it means that a rotation which has begun is not told of.
var errNobodyTold = errors.New("the ConfigMap of the rotation is gone")
