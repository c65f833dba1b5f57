package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Nodes have the same files of images, and each an engine that knows them.
func TestImagesAreShared(t *testing.T) {
	lan := NewLAN(t)
	var inodes []uint64
	for _, name := range []string{"a", "b"} {
		n := lan.Node(t, name)
		n.Share(t)
		n.Run(t, "mkdir", "/etc/manifests")
		begin := time.Now()
		Must(t, n.spawn(t.Context(), []string{BootBinary(t), "kubelet", "--pod-manifest-path", "/etc/manifests"}))
		Until(t, patience, "see the image in the engine", func(ctx context.Context) error {
			if !n.Exists(t, "/run/boot/containerd.sock") {
				return fmt.Errorf("there is none")
			}
			got, err := n.Images(t, "/run/boot/containerd.sock").ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: testImage}})
			if err == nil && got.Image == nil {
				err = fmt.Errorf("it has none")
			}
			return err
		})
		t.Logf("the engine has its images after %s", time.Since(begin))
		found := findFiles(t, filepath.Join(n.plan.Dir, "/var/lib/boot"), "testbox")
		if len(found) != 1 {
			t.Fatalf("found %v", found)
		}
		var st unix.Stat_t
		if err := unix.Stat(found[0], &st); err != nil {
			t.Fatal(err)
		}
		inodes = append(inodes, st.Ino)
	}
	if inodes[0] != inodes[1] {
		t.Errorf("inodes %v", inodes)
	}
}

// findFiles returns the files of a name below a directory in which others are at work.
func findFiles(t *testing.T, dir, name string) (found []string) {
	t.Helper()
	Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err == nil && d.Type().IsRegular() && d.Name() == name {
			found = append(found, path)
		}
		return err
	}))
	return found
}

func TestLinkTree(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "x/y")
	for path, mode := range map[string]os.FileMode{"d/file": 0o755, "meta.db": 0o600, "d/e/suid": 0o755 | os.ModeSetuid} {
		path = filepath.Join(from, path)
		Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		Must(t, os.WriteFile(path, []byte(path), 0o600))
		Must(t, os.Chmod(path, mode))
	}
	Must(t, os.Symlink("nowhere", filepath.Join(from, "d/link")))
	Must(t, os.Chmod(filepath.Join(from, "d/e"), 0o1777))
	Must(t, linkTree(from, to))
	for path, shared := range map[string]bool{"d/file": true, "d/e/suid": true, "d/link": true, "meta.db": false, "d": false, "d/e": false} {
		a, err := os.Lstat(filepath.Join(from, path))
		Must(t, err)
		b, err := os.Lstat(filepath.Join(to, path))
		Must(t, err)
		if os.SameFile(a, b) != shared || a.Mode() != b.Mode() {
			t.Errorf("%s: %s and %s, the same %v", path, a.Mode(), b.Mode(), os.SameFile(a, b))
		}
	}
}
