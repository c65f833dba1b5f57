package lab

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"boot.internal/atomicfile"
)

// WriteFile puts a file on the node, at once.
func (n *Node) WriteFile(t testing.TB, path, content string) {
	t.Helper()
	if err := n.Do(func() error { return atomicfile.Write(path, []byte(content), 0o600) }); err != nil {
		t.Fatal(err)
	}
}

// ReadFile returns a file of the node.
func (n *Node) ReadFile(t testing.TB, path string) string {
	t.Helper()
	var data []byte
	if err := n.Do(func() (err error) { data, err = os.ReadFile(path); return err }); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Remove removes files and directories from the node, with all in them.
func (n *Node) Remove(t testing.TB, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := n.Do(func() error { return os.RemoveAll(path) }); err != nil {
			t.Fatal(err)
		}
	}
}

// Rename renames a file of the node.
func (n *Node) Rename(t testing.TB, from, to string) {
	t.Helper()
	if err := n.Do(func() error { return os.Rename(from, to) }); err != nil {
		t.Fatal(err)
	}
}

// Exists reports whether there is a file on the node.
func (n *Node) Exists(t testing.TB, path string) bool {
	t.Helper()
	err := n.Do(func() error { _, err := os.Lstat(path); return err })
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// Import puts the component images where boot looks for them.
func (n *Node) Import(t testing.TB) {
	t.Helper()
	for _, name := range []string{"bundle.tar.zst", "images/testbox.tar"} {
		from := Component(t, name)
		to := filepath.Join("/var/lib/boot/images", filepath.Base(name))
		if err := n.Do(func() error {
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			return os.Symlink(from, to) // the node sees the host's files
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// Component returns what `make images` built under the name. $BOOT_COMPONENTS
// says where that is, if not where make puts it.
func Component(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("BOOT_COMPONENTS")
	if dir == "" {
		dir = output(t, "make", "-s", "-C", moduleRoot(t), "images-dir")
	}
	return built(t, filepath.Join(dir, name), "make images")
}

// BootBinary returns the boot to test: $BOOT_BIN, or what `make build` built.
func BootBinary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("BOOT_BIN")
	if path == "" {
		path = filepath.Join(moduleRoot(t), "bin/boot")
	}
	return built(t, path, "make build")
}

// built fails the test where there is no such file: a test of the real thing
// that runs without it shows nothing.
func built(t testing.TB, path, by string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run `%s`", err, by)
	}
	return path
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	return filepath.Dir(output(t, "go", "env", "GOMOD"))
}

func output(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}
