package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"boot.internal/config"
	"boot.internal/journal"
	"boot.internal/phases"
	"boot.internal/service"
)

// runInit runs all phases of init.
func runInit(ctx context.Context, ui *ui, f initFlags) error {
	s, err := newInitSetup(ui, f)
	if err != nil {
		return err
	}
	skip, err := phases.Skipping(s.steps, s.cfg.Init.SkipPhases)
	if err != nil {
		return withCode(exitValidation, err)
	}
	err = ui.recorded("init", f.DryRun, func(report func(phases.Event)) error {
		return phases.Runner{DryRun: f.DryRun, Skip: skip, Report: report}.Run(ctx, s.steps)
	})
	if err != nil {
		return exitOf(err)
	}
	if f.DryRun {
		return nil
	}
	join, err := phases.JoinCommand(ctx, s.options)
	if err != nil {
		ui.warn(fmt.Sprintf("the command with which nodes join is not known: %v", err))
	}
	ui.initDone(s.cfg, join)
	return s.stay(ctx)
}

// runInitPhase runs one phase, or a group of them.
func runInitPhase(ctx context.Context, ui *ui, f initFlags, name string) error {
	s, err := newInitSetup(ui, f)
	if err != nil {
		return err
	}
	steps, err := phases.Only(s.steps, name)
	if err != nil {
		return withCode(exitValidation, err)
	}
	runner := phases.Runner{DryRun: f.DryRun, Report: ui.progress(f.DryRun)}
	if err := runner.Run(ctx, steps); err != nil {
		return exitOf(err)
	}
	if s.cfg.UploadCerts && !f.DryRun && slices.ContainsFunc(steps, func(s phases.Step) bool { return s.Name == "upload-certs" }) {
		ui.printf("The key of the certificates, for the next two hours:\n%s\n", s.cfg.Init.CertificateKey.Reveal())
	}
	return nil
}

// exitOf gives what a run of phases ended with its exit code.
func exitOf(err error) error {
	var unfit *phases.PreflightError
	if errors.As(err, &unfit) {
		return withCode(exitPreflight, err)
	}
	return err
}

// An engineCheck finds out whether there will be a container engine.
type engineCheck struct {
	cfg *config.Init
	log *slog.Logger
}

// Check implements phases.EngineCheck.
func (c engineCheck) Check(ctx context.Context) error {
	_, err := findEngine(ctx, c.cfg.Boot, c.cfg.Init.NodeRegistration.CRISocket, c.log)
	return err
}

// An initSetup is a configuration with the phases that carry it out.
type initSetup struct {
	cfg     *config.Init
	options phases.InitOptions
	steps   []phases.Step
	stay    func(context.Context) error // until the loop ends, where it runs in the foreground
}

func newInitSetup(ui *ui, f initFlags) (*initSetup, error) {
	cfg, err := f.load(ui)
	if err != nil {
		return nil, err
	}
	if err := makeCertificateKey(cfg); err != nil {
		return nil, err
	}
	return initSetupOf(ui, cfg, f.foreground)
}

// initSetupOf makes the phases of a configuration.
func initSetupOf(ui *ui, cfg *config.Init, foreground bool) (*initSetup, error) {
	inputs, err := hostInputs(ui, cfg)
	if err != nil {
		return nil, err
	}
	s := &initSetup{cfg: cfg}
	args, err := loopArgs(cfg)
	if err != nil {
		return nil, err
	}
	loop, loopLog, stay, err := newService(ui, cfg.Boot, args, foreground)
	s.stay = stay
	if err != nil {
		return nil, err
	}
	log, node, dirs := ui.logger(), cfg.Init.NodeRegistration, phases.DefaultDirs()
	s.options = phases.InitOptions{
		Config: cfg, Dirs: dirs, Inputs: inputs, Service: loop, LoopLog: loopLog,
		Components: components{boot: cfg.Boot, socket: node.CRISocket, node: node.Name, log: log},
		Preflight: phases.Preflight(phases.PreflightOptions{
			Config: cfg, Dirs: dirs, Journal: hostJournal(), Service: loop, Engine: engineCheck{cfg, log},
		}),
	}
	s.steps, err = phases.Init(s.options)
	return s, withCode(exitValidation, err)
}

// newService returns the loop as what lives on, with the path of its log if
// nobody else keeps that. In the foreground, stay waits until it ends.
func newService(ui *ui, b config.BootConfiguration, args []string, inForeground bool) (
	loop phases.Service, log phases.LoopLog, stay func(context.Context) error, err error,
) {
	if inForeground {
		fg := newForeground(ui, args)
		return fg, log, fg.wait, nil
	}
	manager, err := service.New(serviceOptions(b, args, ui.logger()))
	if err != nil {
		return nil, log, nil, err
	}
	log = phases.LoopLog{Where: manager.LogHint(), Tail: manager.LogTail}
	return manager, log, func(context.Context) error { return nil }, nil
}

// hostJournal is where boot notes what it changes on this host.
func hostJournal() *journal.Journal { return journal.At(filepath.Join(stateDir, "journal.json")) }

// initDone says what there is now and what to do with it.
func (u *ui) initDone(cfg *config.Init, join []string) {
	admin := filepath.Join(phases.DefaultDirs().Kubernetes, "admin.conf")
	u.result(result{
		Node: cfg.Init.NodeRegistration.Name, Cluster: cfg.Cluster.ClusterName, Kubeconfig: admin,
		Join: join, CertificateKey: shownKey(cfg),
	})
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe control plane of cluster %q is up on node %q.\n\n", cfg.Cluster.ClusterName, cfg.Init.NodeRegistration.Name)
	b.WriteString("To use it:\n\n")
	if os.Geteuid() == 0 {
		fmt.Fprintf(&b, "  export KUBECONFIG=%s\n", admin)
	} else {
		fmt.Fprintf(&b, "  sudo install -o $(id -u) -g $(id -g) -m 600 -D %s $HOME/.kube/config\n", admin)
	}
	b.WriteString("  kubectl get nodes\n")
	if len(join) > 0 {
		fmt.Fprintf(&b, "\nTo add a worker, on its host:\n\n  boot %s\n", strings.Join(join, " "))
	}
	if cfg.UploadCerts {
		fmt.Fprintf(&b, "\nTo add a control plane, the same with this, for the next two hours:\n\n  --control-plane --certificate-key %s\n", cfg.Init.CertificateKey.Reveal())
	}
	b.WriteString("\nTo take it down again:\n\n  boot reset\n")
	u.printf("%s", b.String())
}

// shownKey is the key that a further control plane is told, "" if none was asked
// for.
func shownKey(cfg *config.Init) string {
	if !cfg.UploadCerts {
		return ""
	}
	return cfg.Init.CertificateKey.Reveal()
}
