package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"boot.internal/config"
	"boot.internal/phases"
)

// upgradeFlags are the flags of "boot upgrade", named as kubeadm's.
type upgradeFlags struct {
	config.Upgrade
	path        string
	patches     string
	etcdUpgrade bool
	renewal     bool
	yes         bool
	output      string
	phase       string // the only one to run; "" for all
}

func newUpgrade(ui *ui) *cobra.Command {
	c := &cobra.Command{
		Use:   "upgrade",
		Short: "Move the cluster to another version of Kubernetes",
		Long: `Move the cluster to another version of Kubernetes, node by node: the first control
plane with 'boot upgrade apply', the other control planes and then the workers
with 'boot upgrade node'. Each is run with the new boot, which takes the place of the
old one under the pods that run.`,
		Example: `  # What would change, and what speaks against it
  boot upgrade plan

  # On the first control plane
  boot upgrade apply v1.37.2

  # On every other node, control planes first
  boot upgrade node`,
		Args: noArgs,
	}
	c.AddCommand(newUpgradePlan(ui), newUpgradeApply(ui), newUpgradeNode(ui), newUpgradeDiff(ui))
	return c
}

func newUpgradeApply(ui *ui) *cobra.Command {
	var f upgradeFlags
	c := &cobra.Command{
		Use:   "apply [VERSION]",
		Short: "Upgrade the first control plane, and what the cluster stores",
		Long: `Upgrade this control plane to a version, and then what the cluster stores of its
configuration and its add-ons.

Before anything is touched, the versions of all nodes are compared with what
Kubernetes can do, all images are got, and a snapshot of etcd is saved. Then one
component after the other is replaced, with new certificates. One that does not
become healthy is replaced by the one before, and the command ends with the reason.
Pods other than those of the control plane are not touched.

Killed at any moment, the same command run again finishes the job.`,
		Example: `  # Ask, then do it
  boot upgrade apply v1.37.2

  # In a script
  boot upgrade apply v1.37.2 --yes

  # In a script that reads what happens
  boot upgrade apply v1.37.2 --yes -o json

  # Without doing it
  boot upgrade apply v1.37.2 --dry-run`,
		Args: atMostOneArg,
		RunE: func(c *cobra.Command, args []string) error {
			return runUpgrade(c.Context(), ui, f.read(args), config.UpgradeApply)
		},
	}
	f.registerRun(c, func() []phases.Entry { return phases.UpgradePhases(true) })
	f.registerPolicy(c.PersistentFlags())
	p := c.PersistentFlags()
	p.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	p.BoolVarP(&f.Force, "force", "f", false, "do not ask, and go on where versions are advised against")
	ui.eventsFlag(c.Flags())
	c.AddCommand(newUpgradeApplyPhase(ui, &f))
	return c
}

// upgradePhaseLong is what is to be known of a phase of an upgrade on its own.
const upgradePhaseLong = `

Versions that cannot go together are refused as ever. That the cluster is well, and
that all images are there, is the phase preflight, and not looked at otherwise. A
phase that replaces something on this node can be killed and run again like the
whole, for which it notes the cluster before (begin) and forgets that after
(post-upgrade).`

func newUpgradeApplyPhase(ui *ui, f *upgradeFlags) *cobra.Command {
	return newPhase(ui, phased{
		name: "upgrade apply", argument: "[VERSION]",
		long: "Run one phase of 'boot upgrade apply', or a group of them, without asking." + upgradePhaseLong,
		example: `  boot upgrade apply phase list
  boot upgrade apply phase preflight v1.37.2
  boot upgrade apply phase control-plane v1.37.2 --dry-run

  # Once more, after a change of what kubeadm-config says of the scheduler
  boot upgrade apply phase control-plane/scheduler v1.37.2`,
		entries: func() []phases.Entry { return phases.UpgradePhases(true) },
		run: func(c *cobra.Command, phase string, args []string) error {
			got := f.read(args)
			got.phase = phase
			return runUpgrade(c.Context(), ui, got, config.UpgradeApply)
		},
	})
}

func newUpgradeNode(ui *ui) *cobra.Command {
	var f upgradeFlags
	c := &cobra.Command{
		Use:   "node",
		Short: "Upgrade this node to the version of the cluster",
		Long: `Upgrade this node to the version that 'boot upgrade apply' has moved the cluster to:
the components of a control plane one after the other, kube-proxy, and the node
agent, which becomes this program. Pods go on running all along.

A worker waits for its turn: no node agent may be newer than an API server.
Killed at any moment, the same command run again finishes the job.`,
		Example: `  boot upgrade node

  # Without doing it
  boot upgrade node --dry-run`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runUpgrade(c.Context(), ui, f.read(nil), config.UpgradeNode)
		},
	}
	f.registerRun(c, func() []phases.Entry { return phases.UpgradePhases(false) })
	ui.eventsFlag(c.Flags())
	c.AddCommand(newUpgradeNodePhase(ui, &f))
	return c
}

func newUpgradeNodePhase(ui *ui, f *upgradeFlags) *cobra.Command {
	return newPhase(ui, phased{
		name: "upgrade node",
		long: "Run one phase of 'boot upgrade node', or a group of them." + upgradePhaseLong,
		example: `  boot upgrade node phase list
  boot upgrade node phase control-plane --skip-phases control-plane/etcd

  # Without doing it
  boot upgrade node phase kubelet-config --dry-run`,
		entries: func() []phases.Entry { return phases.UpgradePhases(false) },
		run: func(c *cobra.Command, phase string, _ []string) error {
			got := f.read(nil)
			got.phase = phase
			return runUpgrade(c.Context(), ui, got, config.UpgradeNode)
		},
	})
}

func newUpgradePlan(ui *ui) *cobra.Command {
	var f upgradeFlags
	c := &cobra.Command{
		Use:   "plan [VERSION]",
		Short: "Show what an upgrade would change, and what speaks against it",
		Long: `Show which version the cluster is at and which this boot can move it to, what that
would change on every node, what speaks against it, and which certificates of this
node end soon. Nothing is changed.

The exit code is 2 if something speaks against it.`,
		Example: `  boot upgrade plan

  # For scripts
  boot upgrade plan v1.37.2 -o json`,
		Args: atMostOneArg,
		RunE: func(c *cobra.Command, args []string) error { return runUpgradePlan(c.Context(), ui, f.read(args)) },
	}
	f.registerConfig(c.Flags())
	f.registerPolicy(c.Flags())
	f.registerChecks(c.Flags())
	c.Flags().StringVarP(&f.output, "output", "o", "", "output `format`: json or yaml; a table if not set")
	return c
}

func newUpgradeDiff(ui *ui) *cobra.Command {
	var f upgradeFlags
	c := &cobra.Command{
		Use:   "diff [VERSION]",
		Short: "Show how an upgrade would change the manifests of this control plane",
		Long: `Show how an upgrade would change the manifests of this control plane, as a unified
diff. Nothing is changed.`,
		Example: `  boot upgrade diff v1.37.2

  # With the patches that the upgrade is going to have
  boot upgrade diff v1.37.2 --patches /etc/kubernetes/patches`,
		Args: atMostOneArg,
		RunE: func(c *cobra.Command, args []string) error { return runUpgradeDiff(c.Context(), ui, f.read(args)) },
	}
	f.registerConfig(c.Flags())
	f.registerPatches(c.Flags())
	c.Flags().IntVarP(&f.ContextLines, "context-lines", "c", 0, "how many unchanged `lines` to show around a change (default 3)")
	return c
}

func (f *upgradeFlags) registerConfig(p *pflag.FlagSet) {
	p.StringVar(&f.path, "config", "", "configuration `file`: a kubeadm.k8s.io/v1beta4 UpgradeConfiguration")
	_ = cobra.MarkFlagFilename(p, "config", "yaml", "yml", "json")
}

func (f *upgradeFlags) registerPatches(p *pflag.FlagSet) {
	p.StringVar(&f.patches, "patches", "", "`directory` of files \"target[suffix][+patchtype].extension\" that patch the manifests")
	_ = p.SetAnnotation("patches", cobra.BashCompSubdirsInDir, []string{})
}

func (f *upgradeFlags) registerChecks(p *pflag.FlagSet) {
	p.StringSliceVar(&f.IgnorePreflightErrors, "ignore-preflight-errors", nil, "`checks` whose errors are only warned of; 'all' ignores all")
}

// registerPolicy declares what has the user take the responsibility for versions.
func (f *upgradeFlags) registerPolicy(p *pflag.FlagSet) {
	p.BoolVar(&f.Prereleases, "allow-experimental-upgrades", false, "also go to alpha and beta versions")
	p.BoolVar(&f.Candidates, "allow-release-candidate-upgrades", false, "also go to release candidates")
}

// registerRun declares the flags of what changes something. They are persistent, so
// that single phases take the same ones.
func (f *upgradeFlags) registerRun(c *cobra.Command, entries func() []phases.Entry) {
	p := c.PersistentFlags()
	f.registerConfig(p)
	f.registerPatches(p)
	f.registerChecks(p)
	p.BoolVar(&f.DryRun, "dry-run", false, "print what would be done and change nothing")
	p.BoolVar(&f.etcdUpgrade, "etcd-upgrade", true, "upgrade etcd as well")
	p.BoolVar(&f.renewal, "certificate-renewal", true, "renew the certificates of the components that are replaced")
	p.StringSliceVar(&f.SkipPhases, "skip-phases", nil, "`phases` not to run")
	completePhases(c, entries)
}

// read returns flags and arguments in the form that config takes.
func (f *upgradeFlags) read(args []string) upgradeFlags {
	got := *f
	if len(args) > 0 {
		got.Version = args[0]
	}
	if f.patches != "" {
		got.Patches = &config.Patches{Directory: f.patches}
	}
	return got
}

// load makes the configuration from file and flags.
func (f upgradeFlags) load(ui *ui, command config.UpgradeCommand) (*config.Upgrade, error) {
	if command == config.UpgradeApply || command == config.UpgradeNode {
		f.KeepEtcd, f.KeepCertificates = !f.etcdUpgrade, !f.renewal
	}
	cfg, err := config.LoadUpgrade(command, config.UpgradeOptions{Path: f.path, Flags: f.Upgrade})
	if err != nil {
		return nil, withCode(exitValidation, err)
	}
	for _, w := range cfg.Warnings {
		ui.warn(w)
	}
	return cfg, nil
}
