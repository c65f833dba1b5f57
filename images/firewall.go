package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// firewallPackages are the Debian packages with the programs that kube-proxy
// calls. Their libraries come along as dependencies.
func firewallPackages() []string { return []string{"nftables", "iptables", "conntrack", "ipset"} }

// unpackFirewall unpacks the packages and all they depend on into root, and
// tries the programs there.
func unpackFirewall(ctx context.Context, debs, root string) error {
	for _, dir := range []string{debs, root} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := downloadFirewall(ctx, debs); err != nil {
		// The lists of packages may be missing or behind the archive.
		update := exec.CommandContext(ctx, "apt-get", "update", "-q")
		if updateErr := run(update); updateErr != nil {
			return fmt.Errorf("%w\n%w", err, updateErr)
		}
		if err := downloadFirewall(ctx, debs); err != nil {
			return err
		}
	}
	if err := extractAll(ctx, debs, root); err != nil {
		return err
	}
	if err := chooseNFT(filepath.Join(root, "usr/sbin")); err != nil {
		return err
	}
	return tryFirewall(ctx, root)
}

func downloadFirewall(ctx context.Context, debs string) error {
	names, err := dependencies(ctx, firewallPackages())
	if err != nil {
		return err
	}
	// Without its sandbox, apt may write into our directory.
	args := append([]string{"download", "-q", "-o", "APT::Sandbox::User="}, names...)
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir = debs
	return run(cmd)
}

// dependencies returns the packages and all that they need to run.
func dependencies(ctx context.Context, packages []string) ([]string, error) {
	args := []string{
		"depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
		"--no-breaks", "--no-replaces", "--no-enhances",
	}
	out, err := exec.CommandContext(ctx, "apt-cache", append(args, packages...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("ask apt-cache for dependencies: %w", err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		// Packages stand at the margin; below each, indented, what it depends on.
		// Virtual ones are in angle brackets.
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "<") {
			names = append(names, strings.TrimSpace(line))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// extractAll unpacks the packages into root, with the top-level directories
// merged into /usr as on a Debian host.
func extractAll(ctx context.Context, debs, root string) error {
	for _, dir := range []string{"bin", "lib", "lib64", "sbin"} {
		if err := os.MkdirAll(filepath.Join(root, "usr", dir), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	packages, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range packages {
		if err := errors.Join(extract(ctx, deb, root), describe(ctx, deb, root)); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
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
	for _, useless := range []string{
		"./usr/share/[!d]*", "./usr/share/doc/*/[!c]*", "./usr/share/doc/*/changelog*",
		"*/gconv", "*/audit", "./etc/init.d", "./lib/systemd", "./usr/lib/systemd",
	} {
		args = append(args, "--exclude="+useless)
	}
	unpack := exec.CommandContext(ctx, "tar", args...)
	unpack.Stdin = pipe
	if err := files.Start(); err != nil {
		return err
	}
	return errors.Join(run(unpack), files.Wait())
}

// describe leaves a package's name and version where scanners of images that
// have no package manager look for them.
func describe(ctx context.Context, deb, root string) error {
	fields, err := exec.CommandContext(ctx, "dpkg-deb", "--field", deb).Output()
	if err != nil {
		return fmt.Errorf("read fields: %w", err)
	}
	dir := filepath.Join(root, "var/lib/dpkg/status.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name, _, _ := strings.Cut(filepath.Base(deb), "_")
	return os.WriteFile(filepath.Join(dir, strings.TrimSuffix(name, ".deb")), fields, 0o644)
}

// chooseNFT makes the choice that Debian's installer would: iptables is the
// variant that speaks nftables.
func chooseNFT(sbin string) error {
	for _, tool := range []string{"iptables", "ip6tables"} {
		for _, verb := range []string{"", "-restore", "-save"} {
			if err := os.Symlink("xtables-nft-multi", filepath.Join(sbin, tool+verb)); err != nil {
				return err
			}
		}
	}
	return nil
}

// tryFirewall runs the programs inside root, so that a library that is missing
// is found out now and not on a node. Only root may do so.
func tryFirewall(ctx context.Context, root string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"nft", "iptables", "ip6tables", "iptables-restore", "iptables-legacy", "conntrack", "ipset"} {
		cmd := exec.CommandContext(ctx, "/usr/sbin/"+name, "--version")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		cmd.Dir = "/"
		if err := run(cmd); err != nil {
			return fmt.Errorf("try the image of kube-proxy: %w", err)
		}
	}
	return nil
}
