package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"boot.internal/config"
)

// version and gitCommit are stamped by the Makefile.
var (
	version   = "v0.0.0-dev"
	gitCommit = "unknown" //nolint:gochecknoglobals // set by the linker
)

// A versionInfo is what "boot version -o json" prints.
type versionInfo struct {
	Version           string `json:"version"`
	GitCommit         string `json:"gitCommit"`
	KubernetesVersion string `json:"kubernetesVersion"`
	GoVersion         string `json:"goVersion"`
	Platform          string `json:"platform"`
}

func newVersion(ui *ui) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of boot and of the Kubernetes it installs",
		Example: `  boot version
  boot version -o short
  boot version -o json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return printVersion(ui, output) },
	}
	c.Flags().StringVarP(&output, "output", "o", "", "output `format`: short, json or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"short", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// thisVersion is that of this program.
func thisVersion() versionInfo {
	return versionInfo{
		Version: version, GitCommit: gitCommit, KubernetesVersion: config.DefaultKubernetesVersion,
		GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}

func printVersion(ui *ui, output string) error {
	info := thisVersion()
	switch output {
	case "":
		ui.printf("boot %s (Kubernetes %s, %s, %s)\n", info.Version, info.KubernetesVersion, info.GoVersion, info.Platform)
		return nil
	case "short":
		ui.printf("%s\n", info.Version)
		return nil
	default:
		return ui.object(output, info)
	}
}
