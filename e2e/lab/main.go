// Lab makes a cluster of boot's out of namespaces of this machine, for a person
// to try things on: several control planes and workers, cables to cut, nodes to
// take the power from.
//
//	go run ./e2e/lab up --control-planes 3 --workers 2
//	go run ./e2e/lab exec node1
//	go run ./e2e/lab down
//
// A lab lives on after the command that makes it, in a process of its own that
// has the network and starts the nodes' keepers:
//
//	up ──starts──► keep ──► keeper, one a node ──► init, PID 1 of the node
//	other commands ──ask──┘                          ▲
//	exec ────────────── enters its namespaces ───────┘
//
// Each ends when the one before it does, so nothing runs on after any of them was
// killed. What a node is, is decided by package lab.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"boot.internal/e2e/internal/lab"
)

func main() {
	if ours, code := lab.Role(); ours {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main, as a function of its arguments. It returns the exit code, which
// is that of the program for a program that was run on a node.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	_, _ = fmt.Fprintln(stderr, "error:", err)
	return 1
}
