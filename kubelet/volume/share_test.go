package volume

import (
	"testing"

	"golang.org/x/sys/unix"

	"boot.internal/nstest"
)

func TestShare(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	dir := t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	for range 2 { // the second time there is nothing to do
		if err := Share(dir); err != nil {
			t.Fatal(err)
		}
	}
	if shared, err := isShared(dir + "/below"); err != nil || !shared {
		t.Errorf("shared: %v, %v", shared, err)
	}
	if shared, err := isShared(dir + "-beside"); err != nil || shared {
		t.Errorf("beside it: shared: %v, %v", shared, err)
	}
	if err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW); err != nil {
		t.Errorf("it was not mounted once: %v", err)
	}
	if there, err := mountedAt(dir); err != nil || there {
		t.Errorf("it was mounted twice: %v", err)
	}
}
