package lab

import (
	"errors"
	"os"
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
