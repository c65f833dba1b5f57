package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// newFaults are the commands that do something to nodes, or undo it.
func newFaults(l *lair) []*cobra.Command {
	var all []*cobra.Command
	for _, f := range []struct{ kind, short, long string }{
		{"cut", "Unplug the network cable of nodes", "Unplug the network cable of nodes. They can tell: their interface has no carrier."},
		{"mend", "Plug the network cable of nodes in again", "Plug the network cable of nodes in again."},
		{"split", "Part nodes from the rest", "Part nodes from the rest: they reach each other, and nobody else. Nobody can tell; what is sent to the other side is lost."},
		{"heal", "Bring parted nodes back", "Bring nodes back that were parted from the rest."},
		{"kill", "Take the power from nodes", "Take the power from nodes: all of their processes die at once. Their disks stay."},
		{"start", "Give nodes their power back", "Give nodes their power back. They come up with their disks, addresses and names, and go on as what they were."},
	} {
		all = append(all, &cobra.Command{
			Use: f.kind + " NODE…", Short: f.short, Long: f.long,
			Example: fmt.Sprintf("  go run ./e2e/lab %s node1", f.kind),
			Args:    cobra.MinimumNArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				return l.do(Fault{Nodes: args, Kind: f.kind})
			},
		})
	}
	return append(all, newSlow(l), newDrop(l))
}

func newSlow(l *lair) *cobra.Command {
	return &cobra.Command{
		Use:   "slow NODE RATE",
		Short: "Limit the bandwidth of a node",
		Long:  "Limit what a node sends and receives, each way, to a number of bytes a second, with k or M for 1000 or a million. 0 lifts the limit.",
		Example: `  go run ./e2e/lab slow node2 500k
  go run ./e2e/lab slow node2 0`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			rate, err := parseRate(args[1])
			if err != nil {
				return err
			}
			return l.do(Fault{Nodes: args[:1], Kind: "slow", Value: rate})
		},
	}
}

func newDrop(l *lair) *cobra.Command {
	return &cobra.Command{
		Use:   "drop NODE PERCENT",
		Short: "Lose some of a node's packets",
		Long:  "Lose some of a node's packets, each way, at random: 1 to 99 of a hundred. 0 loses none.",
		Example: `  go run ./e2e/lab drop node2 30
  go run ./e2e/lab drop node2 0`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			percent, err := strconv.ParseUint(strings.TrimSuffix(args[1], "%"), 10, 7)
			if err != nil || percent > 99 {
				return fmt.Errorf("%q is not a number from 0 to 99", args[1])
			}
			return l.do(Fault{Nodes: args[:1], Kind: "drop", Value: percent})
		},
	}
}

// parseRate reads a number of bytes a second.
func parseRate(text string) (uint64, error) {
	digits, factor := text, uint64(1)
	for suffix, f := range map[string]uint64{"k": 1e3, "M": 1e6} {
		if d, ok := strings.CutSuffix(text, suffix); ok {
			digits, factor = d, f
		}
	}
	rate, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of bytes, with k or M", text)
	}
	return rate * factor, nil
}

func (l *lair) do(f Fault) error {
	_, err := ask[Fault, None](l, "Do", f)
	return err
}
