package atomicfile

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// killedAt names the file that a process of this test is killed while it writes.
const killedAt = "BOOT_TEST_KILLED_AT"

// TestKilled is what such a process does.
func TestKilled(t *testing.T) {
	path := os.Getenv(killedAt)
	if path == "" {
		t.Skip("the process that is killed; TestLeftBehind starts it")
	}
	f, err := named(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half of a k"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {}
}

// What a process that was killed has left is gone once the file is written again.
func TestLeftBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	killed := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	killed.Env = append(os.Environ(), killedAt+"="+path)
	var exit *exec.ExitError
	if out, err := killed.CombinedOutput(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("not killed: %v: %s", err, out)
	}
	if left, err := Leftovers(path); err != nil || len(left) != 1 {
		t.Fatalf("left %q, %v", left, err)
	}
	if err := Write(path, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if names := list(t, filepath.Dir(path)); !slices.Equal(names, []string{"key"}) {
		t.Errorf("there are %q", names)
	}
}

// What somebody else writes at the same time is left to them.
func TestWrittenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	other, err := named(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = other.WriteString("two")
	if err := errors.Join(err, other.replace(path), other.close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "two" {
		t.Errorf("read %q, %v", got, err)
	}
	if names := list(t, filepath.Dir(path)); !slices.Equal(names, []string{"key"}) {
		t.Errorf("there are %q", names)
	}
}

// Files of others stay, however alike their names are.
func TestOthersStay(t *testing.T) {
	dir := t.TempDir()
	theirs := []string{".key.tmp", ".key.tmp1.bak", ".key.tmpx", ".key2.tmp1", "key.tmp1"}
	for _, name := range theirs {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("key.tmp1", filepath.Join(dir, ".key.tmp2")); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "key"), []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := append([]string{"key", ".key.tmp2"}, theirs...)
	slices.Sort(want)
	if names := list(t, dir); !slices.Equal(names, want) {
		t.Errorf("there are %q, want %q", names, want)
	}
}

// A file that is being written has no name by which it could be left behind, and
// can be read all the same.
func TestNameless(t *testing.T) {
	dir := t.TempDir()
	f, err := nameless(dir)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		t.Skipf("the file system of %s has no files without a name", dir)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "key")
	for range 2 {
		err := Stream(path, 0o640, func(f *os.File) error {
			if _, err := f.WriteString("key"); err != nil {
				return err
			}
			if names := list(t, dir); slices.ContainsFunc(names, func(name string) bool { return name != "key" }) {
				t.Errorf("there are %q", names)
			}
			got, err := os.ReadFile(f.Name())
			if string(got) != "key" {
				t.Errorf("read %q", got)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

// list returns the names of what is in a directory, in order.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
