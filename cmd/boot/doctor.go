package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"boot.internal/doctor"
	"boot.internal/status"
)

func newDoctor(ui *ui) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with this node, and what to do about it",
		Long: `Say what is wrong with this node, and what to do about it: everything that "boot
status" shows, every check of init and join that makes sense on a node that
runs, and what only goes wrong later: clocks that differ, certificates that end,
full disks, settings of the kernel that are lost, names that do not resolve.

Each finding has an ID that stays the same, what it was concluded from, and what
to do, most often a command. Nothing is changed.

Exit codes are those of "boot status": 0 if nothing is wrong, 4 if something is,
5 if the loop does not run, 6 if this host is no node.`,
		Example: `  boot doctor

  # For scripts and monitoring
  boot doctor -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDoctor(c.Context(), ui, output) },
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: json or yaml; text if not set")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// A diagnosis is what "boot doctor -o json" prints.
type diagnosis struct {
	Verdict  status.Verdict   `json:"verdict"`
	Findings []doctor.Finding `json:"findings"`
}

func runDoctor(ctx context.Context, ui *ui, output string) error {
	h, err := newHostLook(ui)
	if err != nil {
		return err
	}
	d := h.diagnose(ctx, h.look)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if output != "" {
		if err := ui.object(output, d); err != nil {
			return err
		}
	} else {
		ui.findings(d.Findings)
	}
	return exitOfVerdict(d.Verdict)
}

// diagnose looks at everything, and at the status as it is told.
func (h *hostLook) diagnose(ctx context.Context, look func(context.Context) status.Report) diagnosis {
	facts := h.facts(ctx, look)
	d := diagnosis{Verdict: facts.Report.Verdict, Findings: doctor.Examine(facts)}
	if d.Findings == nil {
		d.Findings = []doctor.Finding{} // a list without any, to scripts
	}
	if d.Verdict == status.OK && doctor.Worrying(d.Findings) {
		d.Verdict = status.Degraded
	}
	return d
}

// findings prints what is wrong, for a person.
func (u *ui) findings(all []doctor.Finding) {
	if len(all) == 0 {
		u.printf("%s\n", u.tone(status.Good, "nothing is wrong"))
	}
	for i, f := range all {
		if i > 0 {
			u.printf("\n")
		}
		tone := status.Doubtful
		if f.Severity == doctor.Critical {
			tone = status.Bad
		}
		u.printf("%s %s\n", u.tone(tone, string(f.Severity)+" ["+f.ID+"]"), f.What)
		for _, part := range []struct{ label, text string }{{"because", f.Evidence}, {"do", f.Do}} {
			if part.text != "" {
				u.printf("  %-8s %s\n", part.label+":", strings.ReplaceAll(part.text, "\n", "\n           "))
			}
		}
	}
}
