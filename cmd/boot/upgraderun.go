package main

import (
	"context"
	"errors"
	"os"

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
	r := &upgradeRun{apply: command == config.UpgradeApply, phase: f.phase, asked: f.yes}
	if r.skip, err = r.skipping(cfg.SkipPhases); err != nil {
		return withCode(exitValidation, err)
	}
	if r.upgradeHost, err = newUpgradeHost(ctx, ui, cfg); err != nil {
		return err
	}
	steps, err := r.steps(ctx)
	if err != nil {
		return err
	}
	if yes, err := r.sure(ctx); err != nil || !yes {
		return err
	}
	if err := r.run(ctx, steps); err != nil {
		return exitOf(err)
	}
	r.done()
	return nil
}

// An upgradeRun is what of an upgrade of this node is asked for.
type upgradeRun struct {
	*upgradeHost
	apply bool
	phase string // the only one to run; "" for all
	skip  func(phase string) bool
	asked bool                  // the user is sure
	o     phases.UpgradeOptions // once the cluster was looked at
}

// skipping returns what is not to be run, once it is sure that all phases that are
// named exist.
func (r *upgradeRun) skipping(names []string) (func(phase string) bool, error) {
	if r.phase != "" {
		if _, err := phases.UpgradeSkipping(r.apply, []string{r.phase}); err != nil {
			return nil, err
		}
	}
	return phases.UpgradeSkipping(r.apply, names)
}

// steps looks at the cluster and returns the phases that are asked for.
func (r *upgradeRun) steps(ctx context.Context) ([]phases.Step, error) {
	target, err := r.target(r.apply)
	if err != nil {
		return nil, err
	}
	if r.o, err = r.options(target, r.apply); err != nil {
		return nil, err
	}
	if err := r.look(ctx, target); err != nil {
		return nil, err
	}
	steps, err := phases.Upgrade(r.o)
	if r.phase != "" {
		steps, err = phases.UpgradePhase(r.o, r.phase)
	}
	return steps, withCode(exitValidation, err)
}

// look finds what speaks against it, for the phase that refuses what cannot go well.
// Where that is not run, what the versions say stops it here: no phase is of use to
// anybody who breaks the cluster with it.
func (r *upgradeRun) look(ctx context.Context, target string) (err error) {
	if (r.phase == "" || r.phase == "preflight") && !r.skip("preflight") {
		r.o.Findings, err = r.findings(ctx, target, r.apply)
		return err
	}
	skew, err := r.skew(ctx, target, r.apply)
	if err != nil {
		return err
	}
	return refusal(skew, r.o.Ignore)
}

// run runs phases in this node's turn.
func (r *upgradeRun) run(ctx context.Context, steps []phases.Step) error {
	runner := phases.Runner{DryRun: r.cfg.DryRun, Skip: r.skip, Report: r.ui.progress(r.cfg.DryRun)}
	if !r.cfg.DryRun {
		turn, err := phases.RolloutTurn(ctx, stateDir)
		if err != nil {
			return err
		}
		defer turn.Release()
	}
	return runner.Run(ctx, steps)
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

// sure asks, unless the user has said so, or wants a single phase. What cannot be
// done need not be asked for.
func (r *upgradeRun) sure(ctx context.Context) (bool, error) {
	if !r.apply || r.phase != "" || r.asked || r.cfg.Force || r.cfg.DryRun || refusal(r.o.Findings, r.o.Ignore) != nil {
		return true, nil
	}
	return r.ui.ask(ctx, "an upgrade", "Move the cluster from "+r.o.Note.From+" to "+r.o.Config.Cluster.KubernetesVersion+"?")
}

// done says what there is now, and what is next.
func (r *upgradeRun) done() {
	target := r.o.Config.Cluster.KubernetesVersion
	r.ui.made(result{Node: r.name, Version: target})
	switch {
	case r.phase != "" || r.cfg.DryRun:
	case r.apply:
		r.ui.printf("\nNode %s is at %s.\n\nOn every other node, control planes first, with this boot:\n\n  boot upgrade node\n", r.name, target)
	default:
		r.ui.printf("\nNode %s is at %s.\n", r.name, target)
	}
}
