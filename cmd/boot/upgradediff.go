package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pmezard/go-difflib/difflib"

	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/phases"
)

// runUpgradeDiff prints how the manifests of this control plane would change.
func runUpgradeDiff(ctx context.Context, ui *ui, f upgradeFlags) error {
	cfg, err := f.load(ui, config.UpgradeDiff)
	if err != nil {
		return err
	}
	host, err := newUpgradeHost(ctx, ui, cfg)
	if err != nil {
		return err
	}
	if host.api == nil {
		return withCode(exitValidation, hint.With(errors.New("this node is no control plane"), "run it on one"))
	}
	target := cfg.Version
	if target == "" {
		target = config.DefaultKubernetesVersion
	}
	if err := config.SupportsVersion(target); err != nil {
		return withCode(exitValidation, err)
	}
	o, err := host.options(target, true)
	if err != nil {
		return err
	}
	changes, err := phases.UpgradeManifests(o)
	if err != nil {
		return err
	}
	for _, c := range changes {
		text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
			A: difflib.SplitLines(string(c.Current)), B: difflib.SplitLines(string(c.Next)),
			FromFile: c.Path, ToFile: c.Path + " (" + target + ")", Context: cfg.ContextLines,
		})
		if err != nil {
			return fmt.Errorf("compare %s: %w", c.Path, err)
		}
		ui.printf("%s", text)
	}
	return nil
}
