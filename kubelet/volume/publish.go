package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The layout of a volume that boot writes, which is the upstream kubelet's and
// which programs that watch such volumes rely on:
//
//	labels                             -> ..data/labels
//	..data                             -> ..2006_01_02_15_04_05.123456789
//	..2006_01_02_15_04_05.123456789/labels
//
// Replacing ..data replaces all files at once.
const (
	dataLink    = "..data"
	newDataLink = "..data_tmp"
)

// publish makes files the content of the volume at dir. Readers see the old
// files or the new ones, never some of each. Beside them lie the mountpoints,
// empty directories for other volumes. Nothing is synced to disk: what a crash
// leaves is put right by the next call, before any container runs.
func publish(dir string, files map[string]file, group *int64, mountpoints []string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // opened for its path alone
	if err := checkPaths(files); err != nil {
		return err
	}
	files = readableBy(group, files)
	current, err := root.Readlink(dataLink)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if current == "" || !holds(root, current, files) {
		if current, err = replace(root, files, group); err != nil {
			return err
		}
	}
	if err := link(root, files); err != nil {
		return err
	}
	if err := prune(root, current, files, mountpoints); err != nil {
		return err
	}
	return makeMountpoints(root, mountpoints)
}

// makeMountpoints makes directories to mount other volumes on, where no file
// has the name.
func makeMountpoints(root *os.Root, paths []string) error {
	for _, path := range paths {
		top, _, _ := strings.Cut(path, "/")
		if fi, err := root.Lstat(top); err == nil && !fi.IsDir() {
			continue
		}
		if err := root.MkdirAll(path, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// checkPaths refuses paths that would clash with the layout or leave it.
func checkPaths(files map[string]file) error {
	for name := range files {
		if !fs.ValidPath(name) || name == "." || strings.HasPrefix(name, "..") {
			return fmt.Errorf("path %q cannot be in a volume", name)
		}
	}
	return nil
}

// readableBy adds to the modes what the group that owns the volume needs.
func readableBy(group *int64, files map[string]file) map[string]file {
	if group == nil {
		return files
	}
	out := make(map[string]file, len(files))
	for name, f := range files {
		f.mode |= 0o440
		out[name] = f
	}
	return out
}

// holds reports whether the directory holds just these files.
func holds(root *os.Root, dir string, files map[string]file) bool {
	found := 0
	err := fs.WalkDir(root.FS(), dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, ok := files[strings.TrimPrefix(name, dir+"/")]
		if !ok {
			return fs.ErrExist
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		data, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		if fi.Mode().Perm() != want.mode || !ownedBy(fi, want.owner) || !bytes.Equal(data, want.data) {
			return fs.ErrInvalid
		}
		found++
		return nil
	})
	return err == nil && found == len(files)
}

// replace writes the files to a new directory and makes it the current one.
func replace(root *os.Root, files map[string]file, group *int64) (string, error) {
	dir := time.Now().UTC().Format("..2006_01_02_15_04_05.") + fmt.Sprintf("%09d", rand.IntN(1e9))
	if err := makeOwned(root, dir, group); err != nil {
		return "", err
	}
	for name, f := range files {
		if err := writeOwned(root, path.Join(dir, name), f, group); err != nil {
			return "", err
		}
	}
	if err := root.Remove(newDataLink); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := root.Symlink(dir, newDataLink); err != nil {
		return "", err
	}
	return dir, root.Rename(newDataLink, dataLink)
}

// makeOwned makes a directory and those above it that are missing.
func makeOwned(root *os.Root, dir string, group *int64) error {
	if _, err := root.Lstat(dir); err == nil || dir == "." {
		return err
	}
	if err := makeOwned(root, path.Dir(dir), group); err != nil {
		return err
	}
	if err := root.Mkdir(dir, 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o755)
	if group != nil {
		if err := root.Lchown(dir, -1, int(*group)); err != nil {
			return err
		}
		mode |= os.ModeSetgid
	}
	return root.Chmod(dir, mode)
}

func writeOwned(root *os.Root, name string, f file, group *int64) error {
	if err := makeOwned(root, path.Dir(name), group); err != nil {
		return err
	}
	if err := root.WriteFile(name, f.data, f.mode); err != nil {
		return err
	}
	if group != nil || f.owner != nil {
		if err := root.Lchown(name, idOrKeep(f.owner), idOrKeep(group)); err != nil {
			return err
		}
	}
	return root.Chmod(name, f.mode) // whatever the umask
}

// idOrKeep returns an ID as chown takes it: -1 leaves it as it is.
func idOrKeep(id *int64) int {
	if id == nil {
		return -1
	}
	return int(*id)
}

// ownedBy reports whether a file belongs to who is to own it, if anyone.
func ownedBy(fi fs.FileInfo, owner *int64) bool {
	stat, ok := fi.Sys().(*syscall.Stat_t)
	return owner == nil || ok && int64(stat.Uid) == *owner
}

// link makes the names users see, which lead through ..data.
func link(root *os.Root, files map[string]file) error {
	for name := range files {
		top, _, _ := strings.Cut(name, "/")
		err := root.Symlink(path.Join(dataLink, top), top)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// prune removes what belongs neither to the layout, the files nor the mountpoints.
func prune(root *os.Root, current string, files map[string]file, mountpoints []string) error {
	keep := map[string]bool{dataLink: true, current: true}
	for _, name := range slices.AppendSeq(mountpoints, maps.Keys(files)) {
		top, _, _ := strings.Cut(name, "/")
		keep[top] = true
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !keep[e.Name()] {
			err = errors.Join(err, root.RemoveAll(e.Name()))
		}
	}
	return err
}
