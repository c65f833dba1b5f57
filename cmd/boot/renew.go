package main

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/kubelet"
	"boot.internal/phases"
)

// keptCertificates are what the loop renews: what a node holds, in the way of "boot
// certs renew".
type keptCertificates struct {
	places  certs.Places
	rollout phases.RolloutOptions
	off     bool // the user wants it so
	log     *slog.Logger
}

// certificates returns what the loop is to renew; nil without a cluster.
func (l *loop) certificates() kubelet.Certificates {
	if l.flags.kubeconfig == "" {
		return nil
	}
	k := &l.config.Kubelet
	node := l.nodeName()
	return keptCertificates{
		places: certs.Places{
			PKI:        filepath.Dir(cmp.Or(k.Authentication.X509.ClientCAFile, certs.Tree(config.DefaultCertificatesDir).CA.Cert)),
			Kubernetes: filepath.Dir(l.flags.kubeconfig),
			Kubelet:    cmp.Or(l.flags.certDir, filepath.Join(l.flags.rootDir, "pki")),
		},
		rollout: phases.RolloutOptions{
			Manifests: k.StaticPodPath, State: stateDir, Identify: identifyAs(node), Service: thisLoop{}, Node: node,
			Components: components{boot: l.config.Boot, socket: k.ContainerRuntimeEndpoint, node: node, log: l.log},
		},
		off: l.config.Boot.CertificateRenewal == config.RenewalOff, log: l.log,
	}
}

// Look implements kubelet.Certificates.
func (c keptCertificates) Look(now time.Time) []kubelet.Certificate {
	var all []kubelet.Certificate
	for _, h := range certs.Hold(c.places) {
		k := kubelet.Certificate{Name: h.Name, Soon: h.Soon(now), Trouble: h.Trouble(now)}
		if h.Certificate != nil {
			k.Ends = h.Certificate.NotAfter
		}
		if due, ok := h.Due(c.rollout.Node, now); ok && !c.off {
			k.Due = due
		}
		all = append(all, k)
	}
	return all
}

// Renew implements kubelet.Certificates.
func (c keptCertificates) Renew(ctx context.Context, names []string) error {
	turn, err := phases.RolloutTurn(ctx, c.rollout.State)
	if err != nil {
		return err
	}
	defer turn.Release()
	held, err := certs.Find(certs.Hold(c.places), names)
	if err != nil {
		return err
	}
	runner := phases.Runner{Report: func(e phases.Event) {
		if e.State == phases.Changing {
			c.log.LogAttrs(ctx, slog.LevelInfo, "keep certificates", slog.String("phase", e.Step), slog.String("change", e.Text))
		}
	}}
	return runner.Run(ctx, phases.Renew(phases.RenewOptions{Places: c.places, Held: held, Rollout: c.rollout}))
}

// thisLoop is the loop as those see it that work within it.
type thisLoop struct{}

// Running implements phases.Service.
func (thisLoop) Running(context.Context) (bool, error) { return true, nil }

// Start implements phases.Service.
func (thisLoop) Start(context.Context) error { return nil }

// Stop implements phases.Service. Whoever is within the loop does not end it.
func (thisLoop) Stop(context.Context) error { return nil }
