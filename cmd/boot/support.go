package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/atomicfile"
	"boot.internal/hint"
	"boot.internal/support"
)

func newSupportBundle(ui *ui) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "support-bundle",
		Short: "Pack what others need to know to help with this node, without secrets",
		Long: `Pack what others need to know to help with this node into one archive: what
"boot status" and "boot doctor" say, configuration, manifests, logs of the loop,
the engine and the pods of kube-system, what the engine and the API server have,
and the network of the host.

Keys, tokens, passwords and what else looks like a secret is removed; a secret
that is known in one place is removed from all. No Secret of the cluster is
read. Read the archive before you give it to others all the same.

It works with anything down: what could not be had is in collected.json, with
the reason. Nothing is changed.`,
		Example: `  # boot-support-NODE-TIME.tar.gz in this directory
  boot support-bundle

  boot support-bundle -o /tmp/node1.tar.gz

  # Over SSH, without a file on the node
  ssh node1 sudo boot support-bundle -o - > node1.tar.gz`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runSupportBundle(c.Context(), ui, output) },
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`file` to write, - for standard output; named after node and time if not set")
	_ = c.MarkFlagFilename("output", "tar.gz")
	return c
}

func runSupportBundle(ctx context.Context, ui *ui, output string) error {
	if output == "-" && ui.terminal() {
		return withCode(exitValidation, hint.With(errors.New("an archive is nothing to read on a terminal"), "name a file with -o, or pipe it somewhere"))
	}
	h, err := newHostLook(ui)
	if err != nil {
		return err
	}
	now := time.Now()
	o := support.Options{
		Items: h.supportItems(), Learn: h.secretDocuments(), Now: now,
		Dir: "boot-support-" + h.name() + "-" + now.UTC().Format("20060102T150405Z"),
	}
	if output == "-" {
		_, err := support.Pack(ctx, ui.out, o)
		return err
	}
	if output == "" {
		output = o.Dir + ".tar.gz"
	}
	all, err := packFile(ctx, output, o)
	if err != nil {
		return err
	}
	ui.packed(output, all)
	return nil
}

// packFile writes the archive to a file that only its owner can read. One that is
// not whole is not left behind.
func packFile(ctx context.Context, path string, o support.Options) (all []support.Collected, err error) {
	err = atomicfile.Stream(path, 0o600, func(f *os.File) error {
		all, err = support.Pack(ctx, f, o)
		return err
	})
	return all, err
}

// packed says what has come of it.
func (u *ui) packed(path string, all []support.Collected) {
	missing := 0
	for _, c := range all {
		if c.Error != "" {
			missing++
			if u.verbosity > 0 {
				u.warn(c.Name + ": " + c.Error)
			}
		}
	}
	u.printf("%s\n", path)
	if missing > 0 {
		_, _ = fmt.Fprintf(u.err, "%d of %d files could not be had whole; collected.json says why.\n", missing, len(all))
	}
	_, _ = io.WriteString(u.err, "Secrets are removed as far as they are known to be secret: read it before you pass it on.\n")
}
