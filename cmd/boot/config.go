package main

import (
	"slices"

	"github.com/spf13/cobra"

	"boot.internal/config"
)

func newConfig(ui *ui) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Print, check and migrate configuration files, and list the images they ask for",
		Long: `Print, check and migrate configuration files: kubeadm's documents, those of kubelet
and kube-proxy, and boot's own. Nothing here changes the host, but for
"boot config images pull".`,
		Example: `  # A file to start from
  boot config print init-defaults > kubeadm.yaml

  # What is wrong with it
  boot config validate kubeadm.yaml

  # A file that was written for an older kubeadm
  boot config migrate --old-config kubeadm.yaml --new-config kubeadm-new.yaml`,
		Args: noArgs,
	}
	c.AddCommand(newConfigPrint(ui), newConfigValidate(ui), newConfigMigrate(ui), newConfigImages(ui))
	return c
}

func newConfigPrint(ui *ui) *cobra.Command {
	c := &cobra.Command{
		Use:   "print",
		Short: "Print configuration documents with all their defaults",
		Long: `Print the documents that a command reads with all their defaults. What only you can
know has kubeadm's placeholders: the host is "node" and has the address 1.2.3.4, and
the cluster that a node joins is at kube-apiserver:6443.`,
		Example: `  boot config print init-defaults
  boot config print join-defaults
  boot config print init-defaults --component-configs KubeletConfiguration,KubeProxyConfiguration`,
		Args: noArgs,
	}
	c.AddCommand(
		newPrint(ui, "init", config.PrintInit), newPrint(ui, "join", config.PrintJoin),
		newPrint(ui, "reset", without(config.PrintReset)), newPrint(ui, "upgrade", without(config.PrintUpgrade)))
	return c
}

// without is for commands that read no components' configuration.
func without(text func() ([]byte, error)) func([]string) ([]byte, error) {
	return func([]string) ([]byte, error) { return text() }
}

func newPrint(ui *ui, command string, documents func(components []string) ([]byte, error)) *cobra.Command {
	var components []string
	name := command + "-defaults"
	c := &cobra.Command{
		Use:     name,
		Short:   "Print what 'boot " + command + "' reads, with all defaults",
		Example: "  boot config print " + name + " > kubeadm.yaml",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := documents(components)
			if err != nil {
				return withCode(exitValidation, err)
			}
			ui.printf("%s", text)
			return nil
		},
	}
	if slices.Contains([]string{"init", "join"}, command) {
		kinds := []string{"KubeletConfiguration", "KubeProxyConfiguration"}
		c.Flags().StringSliceVar(&components, "component-configs", nil, "`kinds` to print as well: KubeletConfiguration, KubeProxyConfiguration")
		_ = c.RegisterFlagCompletionFunc("component-configs", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp))
	}
	return c
}
