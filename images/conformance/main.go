// Command conformance builds what it takes to try boot with upstream's own
// end-to-end tests: the test program and the images of its pods, from the same
// pinned Go module as the components, and from Debian's packages for what
// upstream takes from distributions. See images.mk, which is how it is meant to
// be run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"boot.internal/images/debian"
	"boot.internal/images/pack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// An order says what to build and where to leave it.
type order struct {
	src     string // this command's source
	dir     string // to be filled
	images  string // the directory with the archives of the components' images
	version string // of Kubernetes
	epoch   time.Time
}

func command(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	var o order
	flags.StringVar(&o.src, "src", ".", "the directory of this command's source")
	flags.StringVar(&o.dir, "dir", "", "the directory to fill")
	flags.StringVar(&o.images, "images", "", "the directory with the archives of the components' images")
	flags.StringVar(&o.version, "kubernetes", "", "the version of Kubernetes")
	epoch := flags.Int64("epoch", 0, "the time to stamp on everything, in seconds since 1970")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.dir == "" || o.images == "" || o.version == "" {
		return errors.New("-dir, -images and -kubernetes are required")
	}
	o.epoch = time.Unix(*epoch, 0).UTC()
	return o.build(ctx, out)
}

// readyName is written last: a directory that has it is complete.
const readyName = "READY"

func (o order) build(ctx context.Context, out io.Writer) error {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(o.dir, ".work-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what stays behind is hidden, and swept with the directory
	progress := func(what string) { _, _ = fmt.Fprintln(out, time.Now().Format(time.TimeOnly), what) }

	progress("compiling the tests and the programs of their images: the first time, this takes many minutes")
	bin := filepath.Join(o.dir, "bin")
	if err := o.compile(ctx, bin); err != nil {
		return err
	}
	progress("unpacking what Debian has of the images")
	roots, err := unpackRoots(ctx, work)
	if err != nil {
		return err
	}
	progress("packing images")
	recipes, err := o.recipes(ctx, bin, roots)
	if err != nil {
		return err
	}
	if err := known(ctx, filepath.Join(bin, "e2e.test"), recipes); err != nil {
		return err
	}
	for _, r := range recipes {
		if err := o.archive(r); err != nil {
			return fmt.Errorf("pack %s: %w", r.Name, err)
		}
	}
	if err := o.snapshotManifests(ctx); err != nil {
		return fmt.Errorf("copy what snapshots need: %w", err)
	}
	progress("all is in " + o.dir)
	return os.WriteFile(filepath.Join(o.dir, readyName), nil, 0o644)
}

// A root is what an image has of Debian.
type root struct {
	files   pack.Tree
	applets []string // commands that its BusyBox has
}

// unpackRoots unpacks what the images have of Debian, by the name of the root.
func unpackRoots(ctx context.Context, work string) (map[string]root, error) {
	all := map[string]root{}
	for name, packages := range debianPackages() {
		dir := filepath.Join(work, name)
		if err := debian.Unpack(ctx, dir+".debs", dir, packages...); err != nil {
			return nil, err
		}
		files, err := pack.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		applets, err := exec.CommandContext(ctx, filepath.Join(dir, "bin/busybox"), "--list").Output()
		if err != nil {
			return nil, fmt.Errorf("list the commands of BusyBox: %w", err)
		}
		all[name] = root{files: files, applets: strings.Fields(string(applets))}
	}
	return all, nil
}

// archive writes an image as an OCI archive, whole or not at all.
func (o order) archive(r pack.Recipe) error {
	r.Created = o.epoch
	target := filepath.Join(o.dir, "images", archiveName(r.Name))
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.Create(target + ".part")
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // closed below, where it matters
	if err := r.WriteArchive(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(target+".part", target)
}

// archiveName is the file of an image: two may differ in their tags alone.
func archiveName(image string) string {
	return strings.ReplaceAll(path.Base(image), ":", "-") + ".tar"
}
