package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"boot.internal/certs"
	"boot.internal/kubelet"
	"boot.internal/kubelet/identity"
	"boot.internal/phases"
)

// rotation is the part of this node in a rotation of authorities, as its loop plays
// it.
type rotation struct{ keptCertificates }

// rotation returns the node's part in rotations; nil without a cluster.
func (l *loop) rotation() kubelet.Rotation {
	if kept, ok := l.certificates().(keptCertificates); ok {
		return rotation{kept}
	}
	return nil
}

// Converge implements kubelet.Rotation.
func (r rotation) Converge(ctx context.Context, stage string, told map[string]string) (kubelet.Converged, error) {
	doc, err := phases.DecodeRotation(told)
	if err != nil {
		return kubelet.Converged{}, err
	}
	id, name, _ := strings.Cut(stage, "/")
	if id != doc.ID {
		return kubelet.Converged{}, fmt.Errorf("this node is told of the rotation %s, and the cluster of %s", id, doc.ID)
	}
	if err := r.converge(ctx, doc, phases.RotationStage(name), told); err != nil {
		return kubelet.Converged{}, err
	}
	return r.left(doc, phases.RotationStage(name))
}

// converge runs the phases of a stage while nobody else replaces pods.
func (r rotation) converge(ctx context.Context, doc phases.Rotation, stage phases.RotationStage, told map[string]string) error {
	o := phases.RotateOptions{Places: r.places, Rollout: r.rollout, Rotation: doc}
	if stage == phases.RotationIssue {
		keys, err := phases.OpenRotationKeys(stateDir, r.rollout.Node, doc, told)
		if err != nil {
			return err
		}
		o.Keys = keys
	}
	steps, err := phases.RotateStage(o, stage)
	if err != nil {
		return err
	}
	turn, err := phases.RolloutTurn(ctx, r.rollout.State)
	if err != nil {
		return err
	}
	defer turn.Release()
	runner := phases.Runner{Report: func(e phases.Event) {
		if e.State == phases.Changing {
			r.log.LogAttrs(ctx, slog.LevelInfo, "rotate authorities", slog.String("phase", e.Step), slog.String("change", e.Text))
		}
	}}
	return runner.Run(ctx, steps)
}

// left is what the loop has to do about a stage, and to tell.
func (r rotation) left(doc phases.Rotation, stage phases.RotationStage) (c kubelet.Converged, err error) {
	switch stage {
	case phases.RotationTrust:
		api, err := phases.LocalAPIServer(r.rollout.Manifests)
		if err != nil || api == nil { // a worker signs nothing
			return c, err
		}
		c.Recipient, err = certs.RecipientKey(phases.RecipientPath(stateDir))
		return c, err
	case phases.RotationRenew:
		c.Sign, err = signer(doc)
	case phases.RotationDrop:
		err = phases.ForgetRecipient(stateDir)
	}
	return c, err
}

// signer is by whom the node's own certificates are to be signed; nil if their
// authority is not rotated.
func signer(doc phases.Rotation) (*identity.Authority, error) {
	for _, a := range doc.Authorities {
		if a.Name != phases.RotateCluster {
			continue
		}
		block, _ := pem.Decode([]byte(a.New))
		if block == nil {
			return nil, errors.New("read the new authority: no certificate")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read the new authority: %w", err)
		}
		return &identity.Authority{Certificate: c, Chain: []byte(a.Cross)}, nil
	}
	return nil, nil
}
