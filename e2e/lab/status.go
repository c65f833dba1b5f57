package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newStatus(l *lair) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show the nodes of a lab",
		Long:    "Show the nodes of a lab: their power, their network, and what Kubernetes thinks of them.",
		Example: `  go run ./e2e/lab status`,
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return status(c.Context(), l) },
	}
}

// statusTimeout is how long Kubernetes may think.
const statusTimeout = 3 * time.Second

func status(ctx context.Context, l *lair) error {
	all, err := ask[None, []State](l, "States", None(true))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	ready := map[string]bool{}
	client, err := newClient(l)
	if err == nil {
		ready, err = readyNodes(ctx, client)
	}
	w := tabwriter.NewWriter(l.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NODE\tROLE\tADDRESS\tPOWER\tNETWORK\tKUBERNETES")
	for _, s := range all {
		power, net := "on", "ok"
		if s.PID == 0 {
			power = "off"
		}
		if s.Port != "" {
			net = s.Port
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Role, s.IP, power, net, opinion(ready, err, s.Name))
	}
	return w.Flush()
}

// opinion is what Kubernetes thinks of a node.
func opinion(ready map[string]bool, err error, name string) string {
	ok, known := ready[name]
	switch {
	case err != nil:
		return "does not answer"
	case ok:
		return "Ready"
	case known:
		return "not Ready"
	default:
		return "does not know it"
	}
}

func newList(l *lair) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the labs of this machine",
		Long:    "List the labs of this machine, those that have died among them.",
		Example: `  go run ./e2e/lab list`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			names, err := labs()
			if err != nil {
				return err
			}
			for _, name := range names {
				one := lair{name: name}
				if _, err := fmt.Fprintln(l.out, name, one.health()); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// health tells whether the process of the lab is there. It does not try the lock:
// to have it, even for a moment, is to be in the way of a lab that begins.
func (l *lair) health() string {
	client, err := l.dial()
	if err != nil {
		return "dead"
	}
	_ = client.Close() // it was not asked anything
	return "up"
}
