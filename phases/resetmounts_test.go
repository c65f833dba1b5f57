package phases

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"boot.internal/nstest"
)

// What the loop mounted on itself is not what a user mounted there.
func TestMountedOnItself(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	base := t.TempDir()
	for name, tc := range map[string]struct {
		source, kind string
		flags        uintptr
		want         bool
	}{
		"itself":        {"itself", "", unix.MS_BIND, true},
		"another":       {".", "", unix.MS_BIND, false},
		"a file system": {"tmpfs", "tmpfs", 0, false},
		"nothing":       {"", "", 0, false},
	} {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if tc.source != "" {
			if err := unix.Mount(filepath.Join(base, tc.source), dir, tc.kind, tc.flags, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		}
		if got := mountedOnItself(dir); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
