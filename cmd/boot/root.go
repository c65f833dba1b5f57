package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"boot.internal/hint"
)

// Exit codes are kubeadm's, so that scripts written for it keep working.
const (
	exitError      = 1 // something went wrong
	exitPreflight  = 2 // the host is not fit; nothing was changed
	exitValidation = 3 // the command line or the configuration is wrong; nothing was changed
)

// An exitCoder knows the code its error ends the process with.
type exitCoder struct {
	error
	code int
}

func (e exitCoder) Unwrap() error { return e.error }

// withCode gives err an exit code; nil stays nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return exitCoder{err, code}
}

// run is main, as a function of its arguments. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once: everything boot does can be
	// killed anywhere and run again.
	context.AfterFunc(ctx, stop)

	ui := newUI(stdout, stderr)
	root := newRoot(ui)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := codeOf(err)
	ui.ended(err, code)
	return code
}

// codeOf returns the exit code of what a command ended with.
func codeOf(err error) int {
	var coded exitCoder
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.code
	}
	return exitError
}

func newRoot(ui *ui) *cobra.Command {
	root := &cobra.Command{
		Use:   "boot",
		Short: "Turn this host into a Kubernetes node",
		Long: `boot turns a Linux host into a Kubernetes control plane or worker, and is its node
agent:
it writes certificates and static-pod manifests, brings its own container engine
where there is none, and runs the pods itself.

Every command can be run again: it does only what is left to do.`,
		Example: `  # A cluster on this host
  boot init

  # One more node, with the command that init prints
  boot join 192.0.2.10:6443 --token … --discovery-token-ca-cert-hash …

  # What would be done, without doing it
  boot init --dry-run

  # The host as it was before
  boot reset`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		PersistentPreRun:  func(*cobra.Command, []string) { bridgeLogs(ui.logger()) },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return withCode(exitValidation, hint.With(err, "run '"+c.CommandPath()+" --help' for its flags"))
	})
	root.PersistentFlags().IntVarP(&ui.verbosity, "verbosity", "v", 0, "log `level`: 0 warnings, 1 what is done, 2 and more details of every step")
	root.AddCommand(newConfig(ui), newImages(ui), newKubeconfig(ui))
	root.AddCommand(newInit(ui), newJoin(ui), newCerts(ui), newEtcd(ui), newKubelet(ui), newReset(ui), newToken(ui), newVersion(ui))
	root.AddCommand(newStatus(ui), newDoctor(ui), newSupportBundle(ui))
	root.AddCommand(newTimeline(ui))
	root.AddCommand(newBackup(ui), newRestore(ui), newUpgrade(ui))
	completeFormats(root)
	return root
}

// noArgs refuses arguments with the exit code of wrong input.
func noArgs(c *cobra.Command, args []string) error {
	return withCode(exitValidation, cobra.NoArgs(c, args))
}

// atMostOneArg refuses more with the exit code of wrong input.
func atMostOneArg(c *cobra.Command, args []string) error {
	return withCode(exitValidation, cobra.MaximumNArgs(1)(c, args))
}

// exactlyOneArg refuses less and more with the exit code of wrong input.
func exactlyOneArg(c *cobra.Command, args []string) error {
	return withCode(exitValidation, cobra.ExactArgs(1)(c, args))
}
