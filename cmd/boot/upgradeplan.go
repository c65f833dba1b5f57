package main

import (
	"cmp"
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/phases"
)

// An upgradePlan is what "boot upgrade plan -o json" prints.
type upgradePlan struct {
	Cluster      string                   `json:"cluster"` // version
	Target       string                   `json:"target"`
	Boot         string                   `json:"boot"` // of Kubernetes, that this boot is
	Changes      []phases.ComponentChange `json:"changes"`
	Problems     []upgradeProblem         `json:"problems"`
	Certificates []upgradeCertificate     `json:"certificates"` // of this node, that end soon

	findings []phases.Finding // of which Problems are made
}

// An upgradeProblem is what speaks against an upgrade.
type upgradeProblem struct {
	ID      string `json:"id"`
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"`
	Warning bool   `json:"warning"` // nothing stops
}

// An upgradeCertificate is one that ends soon.
type upgradeCertificate struct {
	Name   string     `json:"name"`
	Path   string     `json:"path"`
	Ends   *time.Time `json:"ends,omitempty"`
	Reason string     `json:"reason"`
}

// runUpgradePlan prints what an upgrade would change.
func runUpgradePlan(ctx context.Context, ui *ui, f upgradeFlags) error {
	cfg, err := f.load(ui, config.UpgradePlan)
	if err != nil {
		return err
	}
	host, err := newUpgradeHost(ctx, ui, cfg)
	if err != nil {
		return err
	}
	plan, err := host.plan(ctx)
	if err != nil {
		return err
	}
	if f.output != "" {
		err = ui.object(f.output, plan)
	} else {
		err = ui.upgradePlan(plan)
	}
	if err != nil {
		return err
	}
	return refusal(plan.findings, cfg.IgnorePreflightErrors)
}

// plan finds what an upgrade would change, and what speaks against it.
func (h *upgradeHost) plan(ctx context.Context) (*upgradePlan, error) {
	p := &upgradePlan{
		Cluster: h.shared.Cluster.KubernetesVersion, Target: cmp.Or(h.cfg.Version, config.DefaultKubernetesVersion), Boot: config.DefaultKubernetesVersion,
		Changes: []phases.ComponentChange{}, Problems: []upgradeProblem{}, Certificates: []upgradeCertificate{},
	}
	var err error
	if p.findings, err = h.findings(ctx, p.Target, true); err != nil {
		return nil, err
	}
	for _, f := range p.findings {
		p.Problems = append(p.Problems, upgradeProblem(f))
	}
	node := h.node(p.Target)
	p.Changes = append(p.Changes, h.survey.Changes(&node.Cluster, p.Boot)...)
	if h.api == nil {
		return p, nil
	}
	ageing, err := phases.Ageing(node, h.dirs)
	for _, c := range ageing {
		p.Certificates = append(p.Certificates, ageingOf(c))
	}
	return p, err
}

func ageingOf(c certs.Info) upgradeCertificate {
	cert := upgradeCertificate{Name: c.Name, Path: c.Path, Reason: c.Reason}
	if !c.NotAfter.IsZero() {
		cert.Ends = &c.NotAfter
	}
	return cert
}

// upgradePlan prints the plan for people. What speaks against it follows as an
// error.
func (u *ui) upgradePlan(p *upgradePlan) error {
	u.printf("The cluster is at %s. This boot is of Kubernetes %s.\n", p.Cluster, p.Boot)
	switch {
	case len(p.Changes) == 0:
		u.printf("Nothing would change with %s.\n", p.Target)
	default:
		u.printf("An upgrade of all nodes to %s would change:\n\n", p.Target)
		w := tabwriter.NewWriter(u.out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "NODE\tCOMPONENT\tFROM\tTO")
		for _, c := range p.Changes {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Node, c.Component, c.From, c.To)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		u.printf("\nTo do it, here: boot upgrade apply %s\nand then on every other node, control planes first: boot upgrade node\n", p.Target)
	}
	for _, c := range p.Certificates {
		u.warn(c.Path + " " + c.Reason)
	}
	for _, f := range p.findings {
		if f.Warning {
			u.warn(f.String())
		}
	}
	return nil
}
