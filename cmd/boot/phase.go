package main

import (
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"boot.internal/phases"
)

// A phased is a command whose phases can be run one by one, too.
type phased struct {
	name     string // of the command, below boot: "upgrade apply"
	argument string // what it takes beside the phase: "[VERSION]"; "" for nothing
	long     string // what is to be known of a phase on its own; "" for nothing
	example  string
	entries  func() []phases.Entry
	run      func(c *cobra.Command, phase string, args []string) error
}

// newPhase returns the command that runs one phase of another, or a group of them.
func newPhase(ui *ui, p phased) *cobra.Command {
	most := 1
	if p.argument != "" {
		most = 2
	}
	c := &cobra.Command{
		Use:     strings.TrimSpace("phase NAME " + p.argument),
		Short:   "Run one phase of " + p.name + ", or a group of them",
		Long:    p.long,
		Example: p.example,
		Args: func(c *cobra.Command, args []string) error {
			return withCode(exitValidation, cobra.RangeArgs(1, most)(c, args))
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completions("", p.entries()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error { return p.run(c, args[0], args[1:]) },
	}
	ui.eventsFlag(c.Flags())
	c.AddCommand(newPhaseList(ui, p))
	return c
}

func newPhaseList(ui *ui, p phased) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the phases of " + p.name,
		Example: "  boot " + p.name + " phase list",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return ui.phases(p.entries()) },
	}
}

// phases prints a table.
func (u *ui) phases(entries []phases.Entry) error {
	w := tabwriter.NewWriter(u.out, 0, 0, 3, ' ', 0)
	for _, e := range entries {
		if _, err := w.Write([]byte(e.Name + "\t" + e.Desc + "\n")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// completePhases completes the values of --skip-phases, which are parted by commas.
func completePhases(c *cobra.Command, entries func() []phases.Entry) {
	_ = c.RegisterFlagCompletionFunc("skip-phases", func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		return completions(toComplete[:strings.LastIndex(toComplete, ",")+1], entries()), cobra.ShellCompDirectiveNoFileComp
	})
}

// completions are the names of phases after what comes before them, with what a shell
// shows beside.
func completions(before string, entries []phases.Entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, cobra.CompletionWithDesc(before+e.Name, e.Desc))
	}
	return all
}
