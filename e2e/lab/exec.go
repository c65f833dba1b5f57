package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"

	"github.com/spf13/cobra"

	"boot.internal/e2e/internal/lab"
)

func newExec(l *lair) *cobra.Command {
	return &cobra.Command{
		Use:   "exec NODE [-- COMMAND…]",
		Short: "Run a program on a node, or a shell",
		Long: `Run a program on a node, or a shell. boot and kubectl are in its path. The exit
code is the program's.`,
		Example: `  go run ./e2e/lab exec node1
  go run ./e2e/lab exec node1 -- kubectl get pods -A
  go run ./e2e/lab exec node2 -- tail -f /var/log/boot/kubelet.log`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return execute(c.Context(), l, args[0], args[1:]) },
	}
}

func execute(ctx context.Context, l *lair, name string, args []string) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	place, err := ask[None, Place](l, "Where", None(true))
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"/bin/bash"}
	}
	path := place.Path + ":" + os.Getenv("PATH")
	// A program that was found by another path would not be the node's: env looks
	// for it there.
	args = append([]string{"/usr/bin/env", "PATH=" + path, "PS1=[" + l.name + " " + name + "] \\w# "}, args...)
	// Signals of the terminal are for the program.
	signal.Ignore(os.Interrupt)
	cmd := n.Command(context.WithoutCancel(ctx), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, l.out, l.err
	if err := n.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// node returns a node of the lab to run programs on.
func (l *lair) node(name string) (*lab.Node, error) {
	all, err := ask[None, []State](l, "States", None(true))
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(s State) bool { return s.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no node %s", name)
	}
	return lab.Attach(all[i].Info)
}
