package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A package as Debian has them: some files below /lib, some below /usr/lib.
func TestExtractMergesIntoUsr(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("no Debian tools here: ", err)
	}
	source, debs, root := t.TempDir(), t.TempDir(), t.TempDir()
	put(t, filepath.Join(source, "DEBIAN/control"),
		"Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: a test\n")
	for _, file := range []string{
		"lib/tool/libtool.so", "usr/lib/tool/plugin.so", "sbin/tool", "etc/services",
		"usr/share/doc/tool/copyright", "usr/share/doc/tool/changelog.gz", "usr/share/man/tool.8", "usr/lib/tool/gconv/table", "lib/systemd/tool.service", "etc/init.d/tool",
	} {
		put(t, filepath.Join(source, file), file)
	}
	if err := os.Chmod(filepath.Join(source, "DEBIAN"), 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "dpkg-deb", "--build", "--root-owner-group", source, filepath.Join(debs, "tool.deb"))
	if err := run(build); err != nil {
		t.Fatal(err)
	}

	if err := extractAll(t.Context(), debs, root); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{
		"usr/lib/tool/libtool.so", "usr/lib/tool/plugin.so", "usr/sbin/tool", "etc/services",
		"usr/share/doc/tool/copyright", "var/lib/dpkg/status.d/tool",
	} {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			t.Error(err)
		}
	}
	for _, file := range []string{"usr/share/man", "usr/share/doc/tool/changelog.gz", "usr/lib/tool/gconv", "usr/lib/systemd", "etc/init.d"} {
		if _, err := os.Stat(filepath.Join(root, file)); err == nil {
			t.Errorf("%s is of no use in an image", file)
		}
	}
	if link, err := os.Readlink(filepath.Join(root, "lib")); link != "usr/lib" {
		t.Errorf("lib is no link: %q, %v", link, err)
	}
}

func TestChooseNFT(t *testing.T) {
	sbin := t.TempDir()
	if err := chooseNFT(sbin); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		if target, err := os.Readlink(filepath.Join(sbin, name)); target != "xtables-nft-multi" {
			t.Errorf("%s leads to %q, %v", name, target, err)
		}
	}
}
