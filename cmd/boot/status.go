package main

import (
	"context"
	"errors"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"boot.internal/status"
)

// Exit codes of "boot status" and "boot doctor", for monitoring.
const (
	exitDegraded = 4 // something is wrong with the node
	exitLoopDown = 5 // the kubelet loop does not run
	exitNoNode   = 6 // this host is no node
)

// errTold ends a command with an exit code and without a word: all has been said.
var errTold = errors.New("told")

func newStatus(ui *ui) *cobra.Command {
	var output string
	var watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show on one screen how this node is",
		Long: `Show on one screen how this node is: the loop and the container engine, how the
API server is reached, the members of etcd, every static pod with its last
failure, certificates that end next, and manifests that were refused.

It asks the loop over a socket of this host, and everybody else themselves: it
answers within two seconds, also while the API server, the engine, the loop or
etcd is down, and says so.

Exit codes: 0 if all is well, 4 if something is wrong, 5 if the loop does not
run, 6 if this host is no node; 1 if it could not be found out. With --watch it is
0 when it is interrupted, however the node is.`,
		Example: `  boot status

  # Until interrupted, drawn anew whenever something changes
  boot status --watch

  # For scripts and monitoring
  boot status -o json

  # A line of JSON for each change
  boot status --watch -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runStatus(c.Context(), ui, output, watch) },
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: json or yaml; a screen if not set")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on until interrupted, and show what changes")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func runStatus(ctx context.Context, ui *ui, output string, watch bool) error {
	h, err := newHostLook(ui)
	if err != nil {
		return err
	}
	if watch {
		return h.watch(ctx, ui, output)
	}
	r := h.look(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if output != "" {
		err = ui.object(output, r)
	} else {
		ui.printf("%s", status.Screen(r, ui.columns(), ui.tone))
	}
	return errors.Join(err, exitOfVerdict(r.Verdict))
}

// exitOfVerdict says by the exit code how the node is.
func exitOfVerdict(v status.Verdict) error {
	switch v {
	case status.OK:
		return nil
	case status.LoopDown:
		return withCode(exitLoopDown, errTold)
	case status.NoNode:
		return withCode(exitNoNode, errTold)
	default:
		return withCode(exitDegraded, errTold)
	}
}

// tone paints a part of a screen.
func (u *ui) tone(t status.Tone, text string) string {
	if !u.terminal() {
		return text
	}
	switch t {
	case status.Good:
		return u.paint(green, text)
	case status.Bad:
		return u.paint(red, text)
	case status.Doubtful:
		return u.paint(yellow, text)
	case status.Heading:
		return u.paint(bold, text)
	default:
		return text
	}
}

// terminal says whether results are read by a person as they come.
func (u *ui) terminal() bool {
	f, ok := u.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// columns is how wide a screen may be: 80, or less where the terminal is narrower.
func (u *ui) columns() int {
	const usual, least = 80, 40
	f, ok := u.out.(*os.File)
	if !ok {
		return usual
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		return max(min(width, usual), least)
	}
	return usual
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }
