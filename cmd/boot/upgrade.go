package main

import (
	"github.com/spf13/cobra"

	"boot.internal/config"
	"boot.internal/phases"
)

// upgradeFlags are the flags of "boot upgrade", named as kubeadm's.
type upgradeFlags struct {
	config.Upgrade
	path        string
	patches     string
	etcdUpgrade bool
	yes         bool
	output      string
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
component after the other is replaced. One that does not become healthy is
replaced by the one before, and the command ends with the reason. Pods other than
those of the control plane are not touched.

Killed at any moment, the same command run again finishes the job.`,
		Example: `  # Ask, then do it
  boot upgrade apply v1.37.2

  # In a script
  boot upgrade apply v1.37.2 --yes

  # Without doing it
  boot upgrade apply v1.37.2 --dry-run`,
		Args: atMostOneArg,
		RunE: func(c *cobra.Command, args []string) error {
			return runUpgrade(c.Context(), ui, f.read(args), config.UpgradeApply)
		},
	}
	f.registerRun(c, true)
	f.registerPolicy(c)
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVarP(&f.Force, "force", "f", false, "do not ask, and go on where versions are advised against")
	return c
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
	f.registerRun(c, false)
	return c
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
	f.registerConfig(c)
	f.registerPolicy(c)
	f.registerChecks(c)
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
	f.registerConfig(c)
	f.registerPatches(c)
	c.Flags().IntVarP(&f.ContextLines, "context-lines", "c", 0, "how many unchanged `lines` to show around a change (default 3)")
	return c
}

func (f *upgradeFlags) registerConfig(c *cobra.Command) {
	c.Flags().StringVar(&f.path, "config", "", "configuration `file`: a kubeadm.k8s.io/v1beta4 UpgradeConfiguration")
	_ = c.MarkFlagFilename("config", "yaml", "yml", "json")
}

func (f *upgradeFlags) registerPatches(c *cobra.Command) {
	c.Flags().StringVar(&f.patches, "patches", "", "`directory` of files \"target[suffix][+patchtype].extension\" that patch the manifests")
	_ = c.MarkFlagDirname("patches")
}

func (f *upgradeFlags) registerChecks(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.IgnorePreflightErrors, "ignore-preflight-errors", nil, "`checks` whose errors are only warned of; 'all' ignores all")
}

// registerPolicy declares what has the user take the responsibility for versions.
func (f *upgradeFlags) registerPolicy(c *cobra.Command) {
	c.Flags().BoolVar(&f.Prereleases, "allow-experimental-upgrades", false, "also go to alpha and beta versions")
	c.Flags().BoolVar(&f.Candidates, "allow-release-candidate-upgrades", false, "also go to release candidates")
}

// registerRun declares the flags of what changes something.
func (f *upgradeFlags) registerRun(c *cobra.Command, apply bool) {
	f.registerConfig(c)
	f.registerPatches(c)
	f.registerChecks(c)
	c.Flags().BoolVar(&f.DryRun, "dry-run", false, "print what would be done and change nothing")
	c.Flags().BoolVar(&f.etcdUpgrade, "etcd-upgrade", true, "upgrade etcd as well")
	c.Flags().StringSliceVar(&f.SkipPhases, "skip-phases", nil, "`phases` not to run")
	_ = c.RegisterFlagCompletionFunc("skip-phases", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return namesOf(phases.UpgradePhases(apply)), cobra.ShellCompDirectiveNoFileComp
	})
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
		f.KeepEtcd = !f.etcdUpgrade
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
