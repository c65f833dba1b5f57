// Command images builds what boot runs from pinned Go modules: the component
// images, the container engine and the command line tools.
//
// `build` makes what is missing in a directory that its caller has named after
// the digest of this source tree; `pin` writes the versions of versions.env
// into the modules below. See images.mk, which is how both are meant to be run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

var errUsage = errors.New("usage: images build -dir DIR [-upstream] | images pin")

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	versions, err := parseVersions(versionsFile)
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("images "+args[0], flag.ContinueOnError)
	src := flags.String("src", ".", "the directory of this module's source")
	dir := flags.String("dir", "", "the directory to fill")
	upstream := flags.Bool("upstream", false, "also build the upstream kubeadm and kubelet")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch {
	case args[0] == "pin":
		return pin(ctx, *src, versions)
	case args[0] == "build" && *dir != "":
		return build(ctx, order{src: *src, dir: *dir, versions: versions, upstream: *upstream}, out)
	}
	return errUsage
}
