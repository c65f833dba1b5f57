package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"boot.internal/config"
	"boot.internal/engine"
	"boot.internal/hint"
	"boot.internal/kubelet/cgroup"
	"boot.internal/kubelet/shutdown"
	"boot.internal/network"
	"boot.internal/phases"
	"boot.internal/service"
)

// resetFlags are the flags of "boot reset", named as kubeadm's.
type resetFlags struct {
	config.ResetFlags
	path  string
	purge bool

	drain, deleteNode bool
	drainTimeout      time.Duration
	kubeconfig        string
}

func newReset(ui *ui) *cobra.Command {
	var f resetFlags
	c := &cobra.Command{
		Use:   "reset",
		Short: "Take the node down and leave the host as it was before",
		Long: `Stop the node agent, the pods and boot's own container engine, remove what they
have left on this host, and give the kernel its settings back. What was there
before "boot init" stays.

It shows what it is going to do and asks, unless --force is given. It works in
whatever state the node is; killed at any moment, the same command run again
finishes the job.`,
		Example: `  # Show what would be done, ask, and do it
  boot reset

  # In a script
  boot reset --force

  # Have other nodes take over the pods before
  boot reset --drain

  # Image archives, snapshots and logs as well
  boot reset --force --purge`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runReset(c.Context(), ui, f) },
	}
	f.register(c)
	ui.eventsFlag(c.Flags())
	return c
}

func (f *resetFlags) register(c *cobra.Command) {
	p := c.Flags()
	p.StringVar(&f.path, "config", "", "configuration `file`: a kubeadm.k8s.io/v1beta4 ResetConfiguration")
	p.StringVar(&f.CertDir, "cert-dir", "", "`directory` of the certificates (default \"/etc/kubernetes/pki\")")
	p.StringVar(&f.CRISocket, "cri-socket", "", "`path` of the container engine's socket; the one the node uses if not set")
	p.BoolVarP(&f.Force, "force", "f", false, "do not ask")
	p.BoolVar(&f.DryRun, "dry-run", false, "print what would be done and change nothing")
	p.StringSliceVar(&f.IgnorePreflightErrors, "ignore-preflight-errors", nil, "`checks` whose errors are only warned of; 'all' ignores all")
	p.StringSliceVar(&f.SkipPhases, "skip-phases", nil, "`phases` not to run")
	p.BoolVar(&f.purge, "purge", false, "also remove the image archives and the snapshots of etcd in /var/lib/boot, and boot's logs")
	p.BoolVar(&f.drain, "drain", false, "have other nodes take over the pods first, as far as their disruption budgets let them")
	p.DurationVar(&f.drainTimeout, "drain-timeout", 5*time.Minute, "how `long` that may take")
	p.BoolVar(&f.deleteNode, "delete-node", false, "also delete the Node object; an ordinary node may not, see --kubeconfig")
	p.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` to drain and delete the node with; the node's own if not set, or the administrator's that is there")
	_ = c.MarkFlagFilename("kubeconfig")
	_ = c.MarkFlagFilename("config", "yaml", "yml", "json")
	_ = c.MarkFlagDirname("cert-dir")
	completePhases(c, phases.ResetPhases)
}

func runReset(ctx context.Context, ui *ui, f resetFlags) error {
	cfg, err := config.LoadReset(config.ResetOptions{Path: f.path, Flags: f.ResetFlags})
	if err != nil {
		return withCode(exitValidation, err)
	}
	options, err := resetOptions(ctx, ui, cfg, f)
	if err != nil {
		return err
	}
	if !cfg.Force && !cfg.DryRun {
		if yes, err := askReset(ctx, ui, options); err != nil || !yes {
			return err
		}
	}
	changes, err := resetOnce(ctx, ui, options, cfg.DryRun)
	if err != nil {
		return err
	}
	ui.resetDone(options, changes)
	return nil
}

// resetDone says how it ended, and what stays for a next cluster.
func (u *ui) resetDone(o phases.ResetOptions, changes int) {
	u.result(result{Changes: &changes})
	switch {
	case changes == 0:
		u.printf("There is nothing to do.\n")
	case !o.Config.DryRun:
		u.printf("The node is reset.\n")
	}
	if o.Purge {
		return
	}
	for _, kept := range []struct{ what, path string }{
		{"image archives", filepath.Join(o.Dirs.State, "images")},
		{"snapshots of etcd", filepath.Join(o.Dirs.State, "snapshots")},
		{"logs", o.Dirs.Logs},
	} {
		if _, err := os.Stat(kept.path); err == nil {
			u.printf("The %s in %s stay; --purge removes them, too.\n", kept.what, kept.path)
		}
	}
}

// resetOnce runs the phases once and returns how many changes there were.
func resetOnce(ctx context.Context, ui *ui, o phases.ResetOptions, dryRun bool) (changes int, err error) {
	steps := phases.Reset(o)
	skip, err := phases.Skipping(steps, o.Config.SkipPhases)
	if err != nil {
		return 0, withCode(exitValidation, err)
	}
	show := ui.progress(dryRun)
	err = phases.Runner{DryRun: dryRun, Skip: skip, Report: func(e phases.Event) {
		if e.State == phases.Changing {
			changes++
		}
		show(e)
	}}.Run(ctx, steps)
	return changes, exitOf(err)
}

// askReset shows what is going to be done and asks whether it shall be.
func askReset(ctx context.Context, ui *ui, o phases.ResetOptions) (yes bool, err error) {
	if !ui.canAsk() {
		return false, withCode(exitValidation, hint.With(
			errors.New("reset asks before it removes anything, and there is no terminal to ask on"),
			"run it with --force to not be asked, or with --dry-run to see what it would do"))
	}
	changes, err := resetOnce(ctx, ui, o, true)
	if err != nil || changes == 0 {
		return err == nil, err
	}
	return confirm(ctx, ui, "Do all this?")
}

// resetOptions finds out what this node has been configured to be.
func resetOptions(ctx context.Context, ui *ui, cfg *config.ResetConfiguration, f resetFlags) (phases.ResetOptions, error) {
	log := ui.logger()
	dirs := phases.DefaultResetDirs()
	node, err := nodeConfig(ui, filepath.Join(dirs.Kubelet, "config.yaml"))
	if err != nil {
		return phases.ResetOptions{}, err
	}
	dirs.Manifests = cmp.Or(node.Kubelet.StaticPodPath, dirs.Manifests)
	manager, err := service.New(serviceOptions(node.Boot, nil, log))
	if err != nil {
		return phases.ResetOptions{}, err
	}
	o := phases.ResetOptions{
		Config: cfg, Dirs: dirs, Journal: hostJournal(), Purge: f.purge, ReloadLogind: reloadLogind,
		Leave: phases.Leave{
			Drain: f.drain, DrainTimeout: f.drainTimeout, DeleteNode: f.deleteNode,
			API: resetAPI{f.kubeconfig, dirs, node.Boot.APIServers}.client,
		},
		Loop: loopLeft{manager, runDir},
		Leftovers: func(ctx context.Context) ([]network.Leftover, error) {
			return network.Leftovers(ctx, network.Options{ConfDir: dirs.CNI})
		},
		Cgroups: podCgroups(node.Kubelet.CgroupRoot, log),
	}
	found, err := findEngine(ctx, node.Boot, cmp.Or(cfg.CRISocket, node.Kubelet.ContainerRuntimeEndpoint), log)
	if err != nil {
		o.Pods = podsUnknown{err}
		return o, nil
	}
	o.Pods = podsLeft{endpoint: found.Endpoint(), own: found.Own(), dir: filepath.Join(dirs.Kubelet, "pods"), log: log}
	if found.Own() {
		o.Engine = found
	}
	return o, nil
}

var _ phases.OwnEngine = (*engine.Engine)(nil)

// reloadLogind has logind read its configuration, if there is any.
func reloadLogind(ctx context.Context) error { return shutdown.Reload(ctx, dbus.ConnectSystemBus) }

// nodeConfig reads what the loop is configured to do. One that is missing, or
// makes no sense, keeps nothing from being reset.
func nodeConfig(ui *ui, path string) (*config.Loop, error) {
	node, err := config.LoadKubelet(config.LoopOptions{Path: path, DropIns: dropIns()})
	if err == nil {
		return node, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		ui.warn("the node is taken for one with default settings: " + err.Error())
	}
	return config.LoadKubelet(config.LoopOptions{})
}

// podCgroups are the groups that pods may be in. Which it is depends on the
// engine, that need not run any more.
func podCgroups(root string, log *slog.Logger) []phases.PodCgroup {
	group := func(driver cgroup.Driver, name string) phases.PodCgroup {
		return phases.PodCgroup{Name: name, Clean: func() error {
			c, err := cgroup.New(cgroup.Options{Driver: driver, Root: root, Logger: log})
			if err != nil {
				return err
			}
			return c.Clean()
		}}
	}
	plain, slice, prefix := "/", "/", ""
	for element := range strings.SplitSeq(root+"/kubepods", "/") {
		if element == "" {
			continue
		}
		plain = filepath.Join(plain, element)
		prefix += strings.ReplaceAll(element, "-", "_")
		slice = filepath.Join(slice, prefix+".slice")
		prefix += "-"
	}
	return []phases.PodCgroup{group(cgroup.CgroupFS, plain), group(cgroup.Systemd, slice)}
}
