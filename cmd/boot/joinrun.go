package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/discovery"
	"boot.internal/phases"
)

// runJoin runs all phases of join: those about this host, and, once the cluster is
// found, the others.
func runJoin(ctx context.Context, ui *ui, f joinFlags) error {
	cfg, err := f.load(ui)
	if err != nil {
		return err
	}
	skip, err := phases.JoinSkipping(cfg.Join.SkipPhases)
	if err != nil {
		return withCode(exitValidation, err)
	}
	j := &joinSetup{ui: ui, cfg: cfg, foreground: f.foreground}
	err = ui.recorded("join", cfg.Join.DryRun, func(report func(phases.Event)) error {
		return j.run(ctx, phases.Runner{DryRun: cfg.Join.DryRun, Skip: skip, Report: report})
	})
	if err != nil {
		return err
	}
	if cfg.Join.DryRun {
		return nil
	}
	ui.joinDone(j.node, j.controlPlane())
	return j.stay(ctx)
}

// runJoinPhase runs one phase, or a group of them. The cluster is looked for only
// if it has to do with it.
func runJoinPhase(ctx context.Context, ui *ui, f joinFlags, name string) error {
	if _, err := phases.JoinSkipping([]string{name}); err != nil {
		return withCode(exitValidation, err)
	}
	cfg, err := f.load(ui)
	if err != nil {
		return err
	}
	runner := phases.Runner{DryRun: cfg.Join.DryRun, Report: ui.progress(cfg.Join.DryRun)}
	j := &joinSetup{ui: ui, cfg: cfg, foreground: f.foreground}
	first, err := j.preflight()
	if err != nil {
		return err
	}
	if steps, err := phases.Only(first, name); err == nil {
		return exitOf(runner.Run(ctx, steps))
	}
	rest, err := j.rest(ctx)
	if err != nil {
		return err
	}
	steps, err := phases.Only(rest, name)
	if err != nil {
		return withCode(exitValidation, err)
	}
	return exitOf(runner.Run(ctx, steps))
}

// A joinSetup makes the phases that carry a configuration out.
type joinSetup struct {
	ui         *ui
	cfg        *config.Join
	foreground bool

	node *config.Init                // once the cluster is found
	stay func(context.Context) error // until the loop ends, where it runs in the foreground
}

// run runs all phases.
func (j *joinSetup) run(ctx context.Context, runner phases.Runner) error {
	first, err := j.preflight()
	if err != nil {
		return err
	}
	if err := runner.Run(ctx, first); err != nil {
		return exitOf(err)
	}
	rest, err := j.rest(ctx)
	if err != nil {
		return err
	}
	return exitOf(runner.Run(ctx, rest))
}

// preflight returns the phases that know nothing of the cluster.
func (j *joinSetup) preflight() ([]phases.Step, error) {
	node := j.cfg.Node(config.Unasked(), "")
	loop, _, err := j.service(node)
	if err != nil {
		return nil, err
	}
	return phases.JoinPreflight(phases.Preflight(phases.PreflightOptions{
		Config: node, Dirs: phases.DefaultDirs(), Journal: hostJournal(), Service: loop, Worker: !j.controlPlane(),
		Engine: engineCheck{node, j.ui.logger()},
	})), nil
}

// rest finds the cluster and returns the phases that make the node a part of it.
func (j *joinSetup) rest(ctx context.Context) ([]phases.Step, error) {
	dirs := phases.DefaultDirs()
	cluster, err := discovery.Find(ctx, discovery.Options{Config: j.cfg, Kubeconfig: certs.KubeconfigTree(dirs.Kubernetes).Kubelet})
	if err != nil {
		return nil, err
	}
	j.node = j.cfg.Node(cluster.Shared, cluster.Host())
	inputs, err := hostInputs(j.ui, j.node)
	if err != nil {
		return nil, err
	}
	loop, log, err := j.service(j.node)
	if err != nil {
		return nil, err
	}
	n := j.node.Init.NodeRegistration
	steps, err := phases.Join(phases.JoinOptions{
		Config: j.node, ControlPlane: j.controlPlane(), Cluster: cluster, CACertPath: j.cfg.Join.CACertPath,
		Dirs: dirs, Inputs: inputs, Service: loop, LoopLog: log,
		Components: components{boot: j.node.Boot, socket: n.CRISocket, node: n.Name, log: j.ui.logger()},
		Images:     images{boot: j.node.Boot, socket: n.CRISocket, log: j.ui.logger()},
	})
	return steps, withCode(exitValidation, err)
}

func (j *joinSetup) controlPlane() bool { return j.cfg.Join.ControlPlane != nil }

// service returns the loop as what lives on, with the path of its log if nobody
// else keeps that.
func (j *joinSetup) service(node *config.Init) (loop phases.Service, log phases.LoopLog, err error) {
	args, err := loopArgs(node)
	if err != nil {
		return nil, log, err
	}
	args = append(args, "--bootstrap-kubeconfig", filepath.Join(phases.DefaultDirs().Kubernetes, "bootstrap-kubelet.conf"))
	if taints := node.Init.NodeRegistration.Taints; len(taints) > 0 && !j.controlPlane() {
		var texts []string
		for _, t := range taints {
			texts = append(texts, t.ToString())
		}
		args = append(args, "--register-with-taints", strings.Join(texts, ","))
	}
	loop, log, j.stay, err = newService(j.ui, node.Boot, args, j.foreground)
	return loop, log, err
}

// joinDone says what there is now and what to do with it.
func (u *ui) joinDone(node *config.Init, controlPlane bool) {
	u.result(result{Node: node.Init.NodeRegistration.Name, Cluster: node.Cluster.ClusterName})
	var b strings.Builder
	if controlPlane {
		fmt.Fprintf(&b, "\nThis host is node %q of cluster %q, and one of its control planes.\n", node.Init.NodeRegistration.Name, node.Cluster.ClusterName)
		fmt.Fprintf(&b, "\nTo see it:\n\n  export KUBECONFIG=%s\n  kubectl get nodes\n", filepath.Join(phases.DefaultDirs().Kubernetes, "admin.conf"))
	} else {
		fmt.Fprintf(&b, "\nThis host is node %q of cluster %q.\n", node.Init.NodeRegistration.Name, node.Cluster.ClusterName)
		b.WriteString("\nTo see it, on a control plane:\n\n  kubectl get nodes\n")
	}
	b.WriteString("\nTo take it out again:\n\n  boot reset\n")
	u.printf("%s", b.String())
}
