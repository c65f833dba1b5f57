package main

import (
	"fmt"
	"io"
	"regexp"

	"github.com/spf13/cobra"
)

// A lair is the lab that a command is about, and where the command speaks:
// results to out, progress to err.
type lair struct {
	name     string
	out, err io.Writer
}

// say tells what goes on. That nobody can be told is nobody's business.
func (l *lair) say(format string, args ...any) { _, _ = fmt.Fprintf(l.err, format+"\n", args...) }

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	l := &lair{out: stdout, err: stderr}
	root := &cobra.Command{
		Use:   "lab",
		Short: "Clusters of boot's, made of namespaces of this machine",
		Long: `Clusters of boot's, made of namespaces of this machine: each node has its own
network, file system, processes, control groups and container engine, all of them
a switch of their own. The machine itself is not changed, and nothing of a lab
outlives it. This needs root.`,
		Example: `  # Three control planes and two workers
  go run ./e2e/lab up --control-planes 3 --workers 2
  export KUBECONFIG=$(go run ./e2e/lab kubeconfig --path)
  kubectl get nodes -o wide

  # What happens without one of them
  go run ./e2e/lab kill node1
  go run ./e2e/lab start node1

  # No trace
  go run ./e2e/lab down`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkName(l.name) },
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.PersistentFlags().StringVar(&l.name, "name", "lab", "`name` of the lab")
	root.AddCommand(newUp(l), newDown(l), newList(l), newStatus(l), newExec(l), newKubeconfig(l), newKeep(l))
	root.AddCommand(newFaults(l)...)
	return root
}

// checkName accepts what can be part of a path and of a control group's name.
func checkName(name string) error {
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`).MatchString(name) {
		return fmt.Errorf("%q is no name for a lab: lower-case letters, digits and hyphens, 32 at most", name)
	}
	return nil
}
