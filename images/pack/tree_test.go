package pack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listing is a tar stream as text: type, mode, name, link or content.
func listing(t *testing.T, tree Tree) []string {
	t.Helper()
	var buf bytes.Buffer
	if err := tree.WriteTar(&buf, created); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for tr := tar.NewReader(&buf); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(created) {
			t.Errorf("%s belongs to %d:%d and is of %v", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%c %04o %s %s%s", h.Typeflag, h.Mode, h.Name, h.Linkname, body))
	}
}

func TestWriteTar(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := listing(t, Tree{
		Sticky("tmp", 0o777), Executable("usr/bin/p", program), Text("etc/passwd", "root"),
		Symlink("bin", "usr/bin"), Dir("root", 0o700),
	})
	want := []string{
		"2 0777 bin usr/bin",
		"5 0755 etc/ ",
		"0 0644 etc/passwd root",
		"5 0700 root/ ",
		"5 1777 tmp/ ",
		"5 0755 usr/ ",
		"5 0755 usr/bin/ ",
		"0 0755 usr/bin/p binary",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("entries (-want +got):", diff)
	}
}

func TestWriteTarRefuses(t *testing.T) {
	for name, tree := range map[string]Tree{
		"a path twice":          {Text("a", ""), Text("a", "")},
		"a path outside":        {Text("../a", "")},
		"an absolute path":      {Text("/a", "")},
		"the root itself":       {Dir(".", 0o755)},
		"a source that is gone": {Executable("a", filepath.Join(t.TempDir(), "none"))},
	} {
		if err := tree.WriteTar(io.Discard, created); err == nil {
			t.Errorf("%s: written all the same", name)
		}
	}
}

func TestReadDir(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "usr/lib"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "usr/lib/libc.so"), []byte("code"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A link to a directory stays a link.
	if err := os.Symlink("usr/lib", filepath.Join(dir, "lib")); err != nil {
		t.Fatal(err)
	}
	tree, err := ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"2 0777 lib usr/lib", "5 0755 usr/ ", "5 0755 usr/lib/ ", "0 0600 usr/lib/libc.so code"}
	if diff := cmp.Diff(want, listing(t, tree)); diff != "" {
		t.Error("entries (-want +got):", diff)
	}
}

// The bytes are those that setcap(8) writes for cap_net_bind_service=+ep.
func TestBindsLowPorts(t *testing.T) {
	got := Text("a", "").BindsLowPorts().PAX["SCHILY.xattr.security.capability"]
	want := "\x01\x00\x00\x02\x00\x04\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	if got != want {
		t.Errorf("capability %x, want %x", got, want)
	}
}
