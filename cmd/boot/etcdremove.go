package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/etcd"
	"boot.internal/hint"
	"boot.internal/phases"
)

// etcdRemoveFlags are the flags of "boot etcd remove".
type etcdRemoveFlags struct {
	*etcdFlags
	dryRun  bool
	force   bool
	timeout time.Duration
}

func newEtcdRemove(ui *ui, of *etcdFlags) *cobra.Command {
	f := etcdRemoveFlags{etcdFlags: of}
	c := &cobra.Command{
		Use:   "remove NAME|ID",
		Short: "Take a dead control plane out of etcd",
		Long: `Take a member out of etcd from another node: that of a control plane that is dead
and will not come back. On one that lives, 'boot reset' does this and the rest.

A member is not removed if those that are left would have no quorum: all the
cluster's data would be out of reach. Nothing overrides that.`,
		Example: `  # Who is there, and who is not well?
  boot etcd members

  # The control plane cp3 has burnt down
  boot etcd remove cp3
  kubectl delete node cp3`,
		Args:              exactlyOneArg,
		ValidArgsFunction: completeMembers(of),
		RunE:              func(c *cobra.Command, args []string) error { return runEtcdRemove(c.Context(), ui, f, args[0]) },
	}
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "print what would be done and change nothing")
	c.Flags().BoolVar(&f.force, "force", false, "also remove a member that runs and is well: its API server loses its data, until its node is reset")
	c.Flags().DurationVar(&f.timeout, "timeout", 2*time.Minute, "`duration` for which to try again what fails")
	ui.eventsFlag(c.Flags())
	return c
}

func runEtcdRemove(ctx context.Context, ui *ui, f etcdRemoveFlags, name string) error {
	cluster, err := f.cluster()
	if err != nil {
		return err
	}
	defer func() { _ = cluster.Close() }()
	limited, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	members, err := cluster.Members(limited)
	if err != nil {
		return hint.With(err, "it takes a majority of the members to remove one: 'boot etcd members' shows how they are")
	}
	m, ok := etcd.Find(members, name)
	if !ok {
		ui.printf("%s is no member of etcd. The members are %s.\n", name, etcd.Names(members))
		return nil
	}
	removal := phases.EtcdRemoval{Cluster: cluster, Member: m, Force: f.force, Timeout: f.timeout}
	err = phases.Runner{DryRun: f.dryRun, Report: ui.progress(f.dryRun)}.Run(ctx, []phases.Step{
		{Name: "remove-etcd-member", Desc: "Take a member out of etcd", Phase: removal},
	})
	if err == nil && !f.dryRun {
		ui.printf("%s is no member of etcd any more. If its node is gone for good: kubectl delete node %s\n", m, m)
	}
	return err
}
