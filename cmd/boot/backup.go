package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/atomicfile"
	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/phases"
)

func newBackup(ui *ui) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "backup [FILE|-]",
		Short: "Keep all that makes this node a control plane in one archive",
		Long: `Write an archive of which 'boot restore' makes the same control plane again, on
this machine or another: the authorities and all other certificates and keys, the
key that service account tokens are signed with, kubeconfigs, configuration,
manifests of static pods, and a snapshot of etcd.

The archive is not encrypted, and whoever has it has the cluster: every key and
every Secret is in it. The file can be read by root alone. To encrypt it, pipe it
through a tool for that.

Not in it are the images of containers, volumes, and files that static pods mount
from elsewhere than /etc/kubernetes.`,
		Example: `  # Into this directory, named after node and time
  boot backup

  boot backup /mnt/backup/node1.tar.zst

  # Encrypted, to another machine
  boot backup - | age -r age1… | ssh backup@192.0.2.9 'cat > node1.tar.zst.age'`,
		Args: atMostOneArg,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeoutCause(c.Context(), timeout, fmt.Errorf("gave up after %s", timeout))
			defer cancel()
			path := ""
			if len(args) > 0 {
				path = args[0]
			}
			return runBackup(ctx, ui, path)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "`duration` that it may take in all")
	ui.eventsFlag(c.Flags())
	return c
}

func runBackup(ctx context.Context, ui *ui, path string) error {
	if path == "-" {
		if err := ui.wantsPipe(); err != nil {
			return err
		}
	}
	o, err := backupOptions(ui)
	if err != nil {
		return err
	}
	if path == "-" {
		return phases.Backup(ctx, o, ui.out)
	}
	if path == "" {
		path = fmt.Sprintf("boot-backup-%s-%s.tar.zst", o.Node, time.Now().UTC().Format("20060102T150405Z"))
	}
	err = atomicfile.Stream(path, 0o600, func(f *os.File) error { return phases.Backup(ctx, o, f) })
	if err != nil {
		return hint.With(err, "nothing was kept of it")
	}
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	ui.made(result{Node: o.Node, File: path, Size: fi.Size()})
	ui.printf("Wrote %s, %s. It holds the keys of the cluster, and is not encrypted.\n", path, size(fi.Size()))
	return nil
}

func backupOptions(ui *ui) (phases.BackupOptions, error) {
	name, err := ownName()
	if err != nil {
		return phases.BackupOptions{}, err
	}
	manifests, err := manifestsDir(ui)
	return phases.BackupOptions{Dirs: phases.DefaultDirs(), Manifests: manifests, Node: name, Version: version}, err
}

// manifestsDir is where the loop of this node looks for static pods.
func manifestsDir(ui *ui) (string, error) {
	loop, err := ownLoop(ui)
	if err != nil {
		return "", err
	}
	if loop.Kubelet.StaticPodPath == "" {
		return config.DefaultManifestsDir, nil
	}
	return loop.Kubelet.StaticPodPath, nil
}
