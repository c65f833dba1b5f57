package phases

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/hint"
)

// preflight refuses a rotation that could not be brought to its end, before anything
// is touched. One that is under way is gone on with: what is not well may be its own
// doing, and only its end helps.
func (c conductor) preflight(ctx context.Context) ([]Change, error) {
	told, err := c.told(ctx)
	if err != nil {
		return nil, err
	}
	if told != nil {
		return nil, c.resumable(ctx, told)
	}
	nodes, err := conductor{ConductOptions{Client: c.Client, Timeout: c.Timeout}}.nodes(ctx, everybody)
	if err != nil {
		return nil, err
	}
	findings := slices.Concat(c.unable(), c.upgrading(), etcdHealthy(ctx, c.Members), c.unskippable(nodes))
	for _, n := range nodes {
		if !slices.Contains(c.Skip, n.Name) {
			findings = append(findings, unfit(&n)...)
		}
	}
	if stop := sift(ctx, findings, c.Ignore); len(stop) > 0 {
		return nil, &PreflightError{Findings: stop, Subject: "the cluster"}
	}
	return nil, nil
}

// resumable refuses to go on where the keys are somewhere else, and says what it
// goes on with.
func (c conductor) resumable(ctx context.Context, told *ToldRotation) error {
	if rank(told.Stage) < rank(RotationIssue) {
		if _, err := c.own(told); err != nil {
			return err
		}
	}
	warn(ctx, "going on with the rotation "+told.ID+" of "+told.names()+", begun on "+told.Origin)
	return nil
}

// unable finds the authorities that cannot be rotated from here.
func (c conductor) unable() []Finding {
	var all []Finding
	for _, name := range c.Authorities {
		files, err := c.pair(name)
		if err == nil {
			_, err = certs.Succeed(files, time.Now())
		}
		if err != nil {
			all = append(all, found("Authority-"+name, hint.Of(err), "%s: %v", name, err)...)
		}
	}
	return all
}

// upgrading finds an upgrade of this node that has not come to its end.
func (c conductor) upgrading() []Finding {
	note, err := ReadUpgradeNote(c.State)
	if note == nil && err == nil {
		return nil
	}
	return found("UpgradeUnderWay", "run 'boot upgrade' again first: it goes on", "an upgrade of this node has not come to its end")
}

// unskippable finds nodes that are to be left out and cannot be.
func (c conductor) unskippable(nodes []corev1.Node) []Finding {
	var all []Finding
	for _, name := range c.Skip {
		switch {
		case name == c.Node:
			all = append(all, found("SkipNode", "run the command on another control plane", "%s, on which this is run, cannot be left out", name)...)
		case !slices.ContainsFunc(nodes, func(n corev1.Node) bool { return n.Name == name }):
			all = append(all, found("SkipNode", "see 'kubectl get nodes'", "no node is called %s", name)...)
		}
	}
	return all
}

// unfit finds what keeps a node from its part.
func unfit(n *corev1.Node) []Finding {
	const skip = "; with --skip-node its part is left to you"
	switch {
	case !isReady(n.Status.Conditions):
		return found("NodeReady", "see 'kubectl describe node "+n.Name+"'"+skip, "node %s is not Ready", n.Name)
	case n.Annotations[config.RotationFollows] == "":
		return found("NodeFollows", "have this boot run on it"+skip, "the node agent of %s (%s) does not know how to rotate authorities", n.Name, n.Status.NodeInfo.KubeletVersion)
	}
	return nil
}

// RotatableAuthorities returns the names of authorities that a user means: "all" are
// those that are the cluster's own. PKI is where this node has them.
func RotatableAuthorities(names []string, pki certs.Paths) ([]string, error) {
	own := []string{RotateCluster, RotateFrontProxy}
	_, err := os.Stat(pki.EtcdCA.Cert)
	if err == nil {
		own = append(own, RotateEtcd)
	}
	if len(names) == 0 || slices.Contains(names, "all") {
		return own, nil
	}
	for _, name := range names {
		switch {
		case slices.Contains(own, name):
		case name == RotateEtcd:
			return nil, hint.With(errors.New("etcd is somebody else's, and so is its authority"), "rotate that where etcd is run")
		default:
			return nil, hint.With(errors.New("no authority is called "+name), "there are "+strings.Join(own, ", ")+", and all")
		}
	}
	return slices.DeleteFunc(own, func(name string) bool { return !slices.Contains(names, name) }), nil
}
