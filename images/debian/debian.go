// Package debian unpacks Debian packages with all they depend on into the root
// of an image, without installing them: no script of theirs is run. It decides
// what of a package an image can need; which packages those are is left to its
// caller. It needs apt and dpkg on the machine that builds.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Unpack downloads the packages and all they depend on to the directory debs,
// and unpacks them into root, with the top-level directories merged into /usr as
// on a Debian host. Both directories are made if they are missing.
func Unpack(ctx context.Context, debs, root string, packages ...string) error {
	for _, dir := range []string{debs, root} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := download(ctx, debs, packages); err != nil {
		// The lists of packages may be missing or behind the archive.
		if _, updateErr := run(ctx, "", "apt-get", "update", "-q"); updateErr != nil {
			return errors.Join(err, updateErr)
		}
		if err := download(ctx, debs, packages); err != nil {
			return err
		}
	}
	if err := merge(root); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range files {
		if err := extract(ctx, deb, root); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
		}
	}
	return nil
}

func download(ctx context.Context, debs string, packages []string) error {
	names, err := dependencies(ctx, packages)
	if err != nil {
		return err
	}
	// Without its sandbox, apt may write into our directory.
	_, err = run(ctx, debs, "apt-get", append([]string{"download", "-q", "-o", "APT::Sandbox::User="}, names...)...)
	return err
}

// dependencies returns the packages and all that they need to run.
func dependencies(ctx context.Context, packages []string) ([]string, error) {
	args := []string{
		"depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
		"--no-breaks", "--no-replaces", "--no-enhances",
	}
	out, err := run(ctx, "", "apt-cache", append(args, packages...)...)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		// Packages stand at the margin; below each, indented, what it depends on.
		// Virtual ones are in angle brackets.
		if name := strings.TrimSpace(line); !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "<") && !useless(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// useless are packages that only installing needs, and those that apt-cache
// names as an alternative to another.
func useless(name string) bool {
	return slices.Contains([]string{
		"base-files", "cdebconf", "debconf", "debianutils", "dpkg", "gawk", "gcc-12-base", "install-info",
		"libdebian-installer4", "libelogind0", "libnewt0.52", "libslang2", "libtextwrap1", "mawk", "original-awk", "tar",
	}, name)
}

// merge makes the directories that packages expect to find merged.
func merge(root string) error {
	for _, dir := range []string{"bin", "lib", "lib64", "sbin"} {
		if err := os.MkdirAll(filepath.Join(root, "usr", dir), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// extract unpacks what of a package a program can need, and its licence.
// dpkg-deb alone would replace links to directories.
func extract(ctx context.Context, deb, root string) error {
	files := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	pipe, err := files.StdoutPipe()
	if err != nil {
		return err
	}
	args := []string{"--extract", "--directory", root, "--keep-directory-symlink", "--no-same-owner"}
	for _, path := range []string{
		"./usr/share/[!dnp]*", "./usr/share/doc/*/[!c]*", "./usr/share/doc/*/changelog*",
		"*/gconv", "*/audit", "./etc/init.d", "./lib/systemd", "./usr/lib/systemd",
	} {
		args = append(args, "--exclude="+path)
	}
	unpack := exec.CommandContext(ctx, "tar", args...)
	unpack.Stdin = pipe
	if err := files.Start(); err != nil {
		return err
	}
	out, err := unpack.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("run tar: %w\n%s", err, out)
	}
	return errors.Join(err, files.Wait())
}

// run runs a program in a directory and returns what it printed; what it
// complained of becomes part of the error.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w\n%s", name, err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}
