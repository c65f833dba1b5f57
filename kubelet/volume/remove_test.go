package volume

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/nstest"
)

// precious returns a directory outside with a file that is not to be lost.
func precious(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, "precious")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

func TestTeardownFollowsNoLinks(t *testing.T) {
	v := newVolumes(t)
	dir := setup(t, v, newPod(emptyDir(v1.EmptyDirVolumeSource{})))
	outside, file := precious(t)
	for name, target := range map[string]string{"dir": outside, "file": file, "up": "../../../..", "nowhere": "/nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	deep := filepath.Join(dir, "a/b/c")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "f"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := v.Teardown(t.Context(), "uid-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(v.PodsDir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := v.Teardown(t.Context(), "uid-1"); err != nil {
		t.Errorf("second time: %v", err)
	}
}

func TestTeardownUnmounts(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	v := newVolumes(t)
	dir := setup(t, v, newPod(emptyDir(v1.EmptyDirVolumeSource{})))
	outside, file := precious(t)
	for _, name := range []string{"bind", "busy"} {
		at := filepath.Join(dir, name)
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		for range 2 { // one upon the other
			if err := unix.Mount(outside, at, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	looking, err := os.Open(filepath.Join(dir, "busy")) // a plain unmount says EBUSY
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = looking.Close() }()
	if err := v.Teardown(t.Context(), "uid-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(v.PodsDir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// The mount table can be out of date: whoever mounts something after it was
// read must not lose it.
func TestRemoveTreeStopsAtMounts(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	v := newVolumes(t)
	dir := setup(t, v, newPod(emptyDir(v1.EmptyDirVolumeSource{})))
	outside, file := precious(t)
	at := filepath.Join(dir, "bind")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(outside, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(at, 0) }() // before the directories go
	err := removeTree(v.PodsDir, "uid-1")
	if err == nil || !strings.Contains(err.Error(), at+" is a mount point") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestTeardownRefuses(t *testing.T) {
	v := newVolumes(t)
	outside, file := precious(t)
	for _, uid := range []types.UID{"", ".", "..", types.UID("../" + filepath.Base(outside))} {
		if err := v.Teardown(t.Context(), uid); err == nil {
			t.Errorf("removed %q", uid)
		}
	}
	if err := os.MkdirAll(v.PodsDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(v.PodsDir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := v.Teardown(t.Context(), "link"); err == nil {
		t.Error("followed a link")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
