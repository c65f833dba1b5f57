package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"boot.internal/etcd"
	"boot.internal/phases"
)

func newEtcdStatus(ui *ui, f *etcdFlags) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how every member of etcd is, in figures",
		Long: `Ask every member of etcd how it is: its version, how large its database is and
how much of that is in use, who leads, how far it has come, and what it complains
of.

The exit code is for monitoring: 0 if all members are well, 1 if one is not or
none answers.`,
		Example: `  boot etcd status

  # For monitoring
  boot etcd status -o json | jq '.[] | select(.healthy | not)'`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runEtcdStatus(c.Context(), ui, *f, output) },
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: json or yaml; a table if not set")
	return c
}

// A memberFigures is what a member says of itself, as it is printed.
type memberFigures struct {
	etcdMember `json:",inline"`
	DBInUse    int64    `json:"dbSizeInUse,omitempty"` // bytes
	Term       uint64   `json:"raftTerm,omitempty"`
	Index      uint64   `json:"raftIndex,omitempty"`
	Alarms     []string `json:"alarms,omitempty"`
}

func runEtcdStatus(ctx context.Context, ui *ui, f etcdFlags, output string) error {
	statuses, err := f.statuses(ctx, ui)
	if err != nil {
		return err
	}
	var all []memberFigures
	var unwell []string
	for _, s := range statuses {
		all = append(all, figuresOf(s))
		if s.Err != nil {
			unwell = append(unwell, s.String())
		}
	}
	if output != "" {
		err = ui.object(output, all)
	} else {
		err = ui.memberFigures(all)
	}
	if err == nil && len(unwell) > 0 {
		err = errors.New("not well: " + strings.Join(unwell, ", "))
	}
	return err
}

func figuresOf(s etcd.Status) memberFigures {
	return memberFigures{etcdMember: printed(s), DBInUse: s.DBInUse, Term: s.Term, Index: s.Index, Alarms: s.Alarms}
}

// memberFigures prints a table.
func (u *ui) memberFigures(all []memberFigures) error {
	w := tabwriter.NewWriter(u.out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tENDPOINT\tID\tVERSION\tDB SIZE\tIN USE\tROLE\tTERM\tINDEX\tAPPLIED\tALARMS\tERRORS")
	for _, m := range all {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", dash(m.Name), dash(strings.Join(m.ClientURLs, ",")), m.ID,
			dash(m.Version), size(m.DBSize), size(m.DBInUse), m.Role, m.Term, m.Index, m.Applied, dash(strings.Join(m.Alarms, ",")), dash(m.Error))
	}
	return w.Flush()
}

func newEtcdDefrag(ui *ui, f *etcdFlags) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "defrag",
		Short: "Have the members of etcd give back the disk that they do not use",
		Long: `Defragment the members of etcd, one at a time, the leader last. A member serves
nobody while it is busy, so nothing is begun if the others would have no quorum
without it; and the next one waits until the one before is well again.

Of one or two members none can be spared: the API waits for as long as it takes,
a second for each few hundred megabytes.`,
		Example: `  # What could be given back?
  boot etcd status

  boot etcd defrag`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runEtcdDefrag(c.Context(), ui, *f, dryRun) },
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be done and change nothing")
	ui.eventsFlag(c.Flags())
	return c
}

func runEtcdDefrag(ctx context.Context, ui *ui, f etcdFlags, dryRun bool) error {
	cluster, err := f.cluster()
	if err != nil {
		return err
	}
	defer func() { _ = cluster.Close() }()
	return phases.Runner{DryRun: dryRun, Report: ui.progress(dryRun)}.Run(ctx, []phases.Step{
		{Name: "etcd/defrag", Desc: "Have the members of etcd give back disk", Phase: phases.NewEtcdDefrag(cluster)},
	})
}
