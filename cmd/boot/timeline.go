package main

import (
	"cmp"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"boot.internal/hint"
	"boot.internal/timeline"
)

func newTimeline(ui *ui) *cobra.Command {
	var output string
	var list bool
	c := &cobra.Command{
		Use:   "timeline [FILE]",
		Short: "Show how this node came up, and what that took its time for",
		Long: `Show how this node came up the last time: what the phases of 'boot init' or 'boot
join' did, which images were imported, and when the sandbox, the containers and the
mirror of each pod were there and Ready.

As text, it is the critical path: the chain of steps each of which waited for the one
before, and which therefore made it take as long as it did. As SVG, it is a picture
of everything on one time axis, for any browser.

The last five times are kept in /var/lib/boot/timeline; FILE is one of these, or a
copy of one from another node.`,
		Example: `  # Why did it take that long?
  boot timeline

  # The picture
  boot timeline -o svg > timeline.svg

  # Earlier times
  boot timeline --list
  boot timeline /var/lib/boot/timeline/20260101T120000.000Z-init.jsonl

  # For a script: what held it up longest?
  boot timeline -o json | jq '.criticalPath | max_by(.seconds)'`,
		Args: atMostOneArg,
		RunE: func(_ *cobra.Command, args []string) error {
			if list {
				return listTimelines(ui, output)
			}
			return showTimeline(ui, output, cmp.Or(append(args, "")[0], timeline.Newest(timelineDir)))
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: svg, json or yaml; text if not set")
	c.Flags().BoolVar(&list, "list", false, "list the times that are kept")
	return c
}

// showTimeline shows one bring-up.
func showTimeline(ui *ui, output, path string) error {
	if path == "" {
		return hint.With(errors.New("nothing is known of how this node came up"),
			"it is recorded by 'boot init' and 'boot join', in "+timelineDir)
	}
	b, err := timeline.Open(path)
	if err != nil {
		return err
	}
	switch output {
	case "", "text":
		return b.Text(ui.out)
	case "svg":
		return b.SVG(ui.out)
	case "json", "yaml":
		return ui.object(output, b.Object())
	}
	return withCode(exitValidation, hint.With(fmt.Errorf("unknown output format %q", output), "use text, svg, json or yaml"))
}

// A listedTimeline is a bring-up as it is listed.
type listedTimeline struct {
	Path    string  `json:"path"`
	Command string  `json:"command"`
	Began   string  `json:"began"`
	Seconds float64 `json:"seconds"`
	Ready   bool    `json:"ready"` // everything was, in the end
}

// listTimelines lists what is kept, the last first.
func listTimelines(ui *ui, output string) error {
	paths, err := timeline.List(timelineDir)
	if err != nil {
		return err
	}
	all := []listedTimeline{}
	for _, path := range paths {
		b, err := timeline.Open(path)
		if err != nil {
			ui.warn(err.Error())
			continue
		}
		all = append(all, listedTimeline{path, b.Command, b.Began.UTC().Format("2006-01-02T15:04:05Z"), b.Took().Seconds(), len(b.Missing) == 0})
	}
	if output != "" && output != "text" {
		return ui.object(output, all)
	}
	table := tabwriter.NewWriter(ui.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "BEGAN\tBY\tTOOK\tREADY\tFILE")
	for _, l := range all {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%.1fs\t%t\t%s\n", l.Began, l.Command, l.Seconds, l.Ready, l.Path)
	}
	return table.Flush()
}
