package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"boot.internal/hint"
	"boot.internal/journal"

	"github.com/spf13/cobra"

	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/phases"
)

// snapshotRestoreFlags are the flags of "boot etcd snapshot restore".
type snapshotRestoreFlags struct {
	yes        bool
	newCluster bool
	dryRun     bool
	timeout    time.Duration
}

func newSnapshotRestore(ui *ui) *cobra.Command {
	var f snapshotRestoreFlags
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Take this node's etcd and the control plane back to a snapshot",
		Long: `Take the cluster back to what a snapshot has. The snapshot is verified and made
into etcd's data before anything is stopped; then the control plane of this node
is stopped, the data is put in place of what was there, which is kept beside it,
and the control plane is started again. Pods on the nodes run on; those that the
snapshot does not know are ended, those that it knows are started.

Revisions rise by a billion, so that nobody who watches the API takes the past for
the present.

Where etcd has other members, this node begins a new cluster without them, and
only with --new-cluster: they are taken out of etcd, so that nobody goes on with
what was. Reset their nodes afterwards, and have them join again.

Killed at any moment, the same command run again finishes the job.`,
		Example: `  boot etcd snapshot list
  boot etcd snapshot restore /var/lib/boot/snapshots/scheduled-20260102T030405Z.db

  # What would be done?
  boot etcd snapshot restore cluster.db --dry-run

  # In a cluster with other control planes, which are left behind
  boot etcd snapshot restore cluster.db --new-cluster`,
		Args: exactlyOneArg,
		RunE: func(c *cobra.Command, args []string) error { return runSnapshotRestore(c.Context(), ui, f, args[0]) },
	}
	p := c.Flags()
	p.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	p.BoolVar(&f.newCluster, "new-cluster", false, "take all other members out of etcd: their nodes are to be reset and joined again")
	p.BoolVar(&f.dryRun, "dry-run", false, "print what would be done and change nothing")
	p.DurationVar(&f.timeout, "timeout", 5*time.Minute, "`duration` for which each component is waited for")
	ui.eventsFlag(p)
	return c
}

func runSnapshotRestore(ctx context.Context, ui *ui, f snapshotRestoreFlags, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	snapshot, err := etcd.ReadSnapshot(path)
	if err != nil {
		return hint.With(err, "nothing has been changed; 'boot etcd snapshot list' shows which snapshots are intact")
	}
	rollout, err := localRollout(ui)
	if err != nil {
		return err
	}
	rollout.Timeout = f.timeout
	steps, err := phases.EtcdRestore(phases.EtcdRestoreOptions{Snapshot: snapshot, Rollout: rollout, NewCluster: f.newCluster})
	if err != nil {
		return err
	}
	if !f.yes && !f.dryRun {
		question := fmt.Sprintf("All that has changed in the cluster since %s is lost. Go back to revision %d?", snapshot.Taken.Format(time.RFC1123), snapshot.Revision)
		if yes, err := ui.ask(ctx, "this", question); err != nil || !yes {
			return err
		}
	}
	if !f.dryRun {
		turn, err := phases.RolloutTurn(ctx, rollout.State)
		if err != nil {
			return err
		}
		defer turn.Release()
	}
	err = phases.Runner{DryRun: f.dryRun, Report: ui.progress(f.dryRun)}.Run(ctx, steps)
	if err != nil || f.dryRun {
		return err
	}
	ui.made(result{Revision: snapshot.Revision})
	ui.printf("The cluster is what it was at revision %d. The data from before is beside etcd's own, as member-before-restore-…: remove it once you miss nothing.\n", snapshot.Revision)
	ui.leftBehind(snapshot.Path, rollout.Node)
	return nil
}

// leftBehind says what is to become of other control planes that a snapshot knows:
// the cluster has begun anew without them.
func (u *ui) leftBehind(snapshot, node string) {
	others, err := phases.OtherControlPlanes(snapshot, node)
	if err != nil {
		u.warn("if there were other control planes, reset and join them again; who they are cannot be read: " + err.Error())
	}
	if len(others) == 0 {
		return
	}
	if u.stream != nil && u.stream.result != nil {
		u.stream.result.LeftBehind = others
	}
	u.printf(`
Control planes that have no part in it any more: %s.
To have one back, on it:     boot reset --force --delete-node
then here:                   boot init phase upload-certs --upload-certs
                             boot token create --print-join-command --certificate-key KEY
To forget one that is gone:  kubectl delete node NAME
`, strings.Join(others, ", "))
}

// localRollout is how static pods of this node are looked at and waited for.
func localRollout(ui *ui) (phases.RolloutOptions, error) {
	loop, err := ownLoop(ui)
	if err != nil {
		return phases.RolloutOptions{}, err
	}
	if loop.Kubelet.StaticPodPath == "" {
		loop.Kubelet.StaticPodPath = config.DefaultManifestsDir
	}
	name, err := ownName()
	if err != nil {
		return phases.RolloutOptions{}, err
	}
	return rolloutOptions(ui, loop, name)
}

// ownLoop is what the loop of this node is configured to do.
func ownLoop(ui *ui) (*config.Loop, error) {
	return nodeConfig(ui, filepath.Join(phases.DefaultDirs().Kubelet, "config.yaml"))
}

// ownName is the name of the node that boot has made of this host.
func ownName() (string, error) {
	entries, err := hostJournal().Entries()
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.Kind == journal.Node {
			return e.Name, nil
		}
	}
	return "", hint.With(errors.New("boot has made no node of this host"), "run this on a control-plane node")
}
