// Package owner makes a group the owner of a volume, as fsGroup in the security
// context of a pod asks for. It decides which modes and owners that takes and
// when the work can be spared; which volumes are given a group it leaves to its
// callers.
package owner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
)

// What the group needs, and what a directory needs beside it.
const (
	writable = fs.FileMode(0o660)
	search   = fs.FileMode(0o110)
)

// A large volume takes its time: users are told after firstNote, and then every
// nextNote.
const (
	firstNote = 30 * time.Second
	nextNote  = 60 * time.Second
)

// Change is what is to become of a volume.
type Change struct {
	Dir   string // its root
	Group int64
	// Policy OnRootMismatch spares the work where the root is right already. nil
	// is Always.
	Policy *v1.PodFSGroupChangePolicy
	// Name is what Progress calls the volume, and Progress is told now and then of
	// a change that takes long, in the words of upstream's events. It may be nil.
	Name     string
	Progress func(message string)
}

// Apply makes the group the owner of everything in the volume. Like upstream it
// goes on where a file's owner or mode cannot be changed: some file systems have
// neither. The root comes last, so that a change that was cut short is taken up
// again whatever the policy. No link is followed and no directory left through
// one.
func Apply(ctx context.Context, c Change) error {
	if c.Policy != nil && *c.Policy == v1.FSGroupChangeOnRootMismatch && matches(c.Dir, c.Group) {
		return nil
	}
	w := walk{group: int(c.Group)}
	if c.Progress != nil {
		defer w.report(c)()
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // opened for its path alone
	return w.dir(ctx, root, ".")
}

// matches reports whether the root of a volume has group and mode.
func matches(dir string, group int64) bool {
	fi, err := os.Stat(dir)
	if err != nil || !fi.IsDir() {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	need := writable | search
	return ok && int64(st.Gid) == group && fi.Mode()&need == need && fi.Mode()&fs.ModeSetgid != 0
}

// A walk is one change under way.
type walk struct {
	group int
	files atomic.Int64
}

// report tells of the progress until the returned func is called.
func (w *walk) report(c Change) (stop func()) {
	done := make(chan struct{})
	go func() {
		timer := time.NewTimer(firstNote)
		defer timer.Stop()
		message := func() string {
			return "Setting volume ownership for " + c.Name + " is taking longer than expected, consider using OnRootMismatch - " +
				"https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#configure-volume-permission-and-ownership-change-policy-for-pods"
		}
		for {
			select {
			case <-done:
				return
			case <-timer.C:
			}
			c.Progress(message())
			message = func() string {
				return fmt.Sprintf("Setting volume ownership for %s, processed %d files.", c.Name, w.files.Load())
			}
			timer.Reset(nextNote)
		}
	}()
	return func() { close(done) }
}

// dir changes what is in a directory and then the directory.
func (w *walk) dir(ctx context.Context, root *os.Root, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := root.Open(path)
	if err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, e := range entries {
		name := strings.TrimPrefix(path+"/"+e.Name(), "./")
		if e.IsDir() {
			err = w.dir(ctx, root, name)
		} else {
			err = w.file(root, name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			return err
		}
	}
	return w.file(root, path)
}

// file changes one file or directory. The mode of a link means nothing.
func (w *walk) file(root *os.Root, path string) error {
	fi, err := root.Lstat(path)
	if err != nil {
		return err
	}
	w.files.Add(1)
	_ = root.Lchown(path, -1, w.group) // see Apply
	if fi.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	mode := fi.Mode() | writable
	if fi.IsDir() {
		mode |= search | fs.ModeSetgid
	}
	_ = root.Chmod(path, mode&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky))
	return nil
}
