package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/phases"
	"boot.internal/service"
)

// runUpgrade moves this node to another version: with apply to one that the user
// names, and what the cluster stores with it, else to the one that the cluster has.
func runUpgrade(ctx context.Context, ui *ui, f upgradeFlags, command config.UpgradeCommand) error {
	cfg, err := f.load(ui, command)
	if err != nil {
		return err
	}
	apply := command == config.UpgradeApply
	skip, err := phases.UpgradeSkipping(apply, cfg.SkipPhases)
	if err != nil {
		return withCode(exitValidation, err)
	}
	host, err := newUpgradeHost(ctx, ui, cfg)
	if err != nil {
		return err
	}
	target, err := host.target(apply)
	if err != nil {
		return err
	}
	o, err := host.options(target, apply)
	if err != nil {
		return err
	}
	if o.Findings, err = host.findings(ctx, target, apply); err != nil {
		return err
	}
	steps, err := phases.Upgrade(o)
	if err != nil {
		return withCode(exitValidation, err)
	}
	if yes, err := host.sure(ctx, f, o, apply); err != nil || !yes {
		return err
	}
	runner := phases.Runner{DryRun: cfg.DryRun, Skip: skip, Report: ui.progress(cfg.DryRun)}
	if !cfg.DryRun {
		turn, err := phases.RolloutTurn(ctx, stateDir)
		if err != nil {
			return err
		}
		defer turn.Release()
	}
	if err := runner.Run(ctx, steps); err != nil {
		return exitOf(err)
	}
	if !cfg.DryRun {
		ui.upgradeDone(host.name, target, apply)
	}
	return nil
}

// target is the version to move to.
func (h *upgradeHost) target(apply bool) (string, error) {
	switch {
	case !apply:
		return h.shared.Cluster.KubernetesVersion, nil
	case h.api == nil:
		return "", withCode(exitValidation, hint.With(errors.New("this node is no control plane"),
			"run it on one first, and then 'boot upgrade node' here"))
	case h.cfg.Version == "":
		return "", withCode(exitValidation, hint.With(errors.New("which version?"),
			"name it, as in 'boot upgrade apply "+config.DefaultKubernetesVersion+"'"))
	}
	return h.cfg.Version, nil
}

// service is the loop as it is run from where it is installed.
func (h *upgradeHost) service() (*service.Manager, error) {
	o := serviceOptions(h.loop.Boot, h.installed.Args, h.ui.logger())
	o.Executable = h.installed.Executable
	return service.New(o)
}

// program is this one, and the one that the loop is run from.
func (h *upgradeHost) program() (phases.Program, error) {
	own, err := os.Executable()
	return phases.Program{Own: own, Installed: h.installed.Executable, Version: version}, err
}

// sure asks, unless the user has said so. What cannot be done need not be asked for.
func (h *upgradeHost) sure(ctx context.Context, f upgradeFlags, o phases.UpgradeOptions, apply bool) (bool, error) {
	if !apply || f.yes || h.cfg.Force || h.cfg.DryRun || refused(o) {
		return true, nil
	}
	return h.ui.ask(ctx, "an upgrade", "Move the cluster from "+o.Note.From+" to "+o.Config.Cluster.KubernetesVersion+"?")
}

// refused says whether preflight is going to stop.
func refused(o phases.UpgradeOptions) bool {
	return slices.ContainsFunc(o.Findings, func(f phases.Finding) bool { return f.Stops(o.Ignore) })
}

// upgradeDone says what there is now, and what is next.
func (u *ui) upgradeDone(node, target string, apply bool) {
	var b strings.Builder
	b.WriteString("\nNode " + node + " is at " + target + ".\n")
	if apply {
		b.WriteString("\nOn every other node, control planes first, with this boot:\n\n  boot upgrade node\n")
	}
	u.printf("%s", b.String())
}
