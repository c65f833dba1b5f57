package phases

import (
	"context"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
)

// images is where the user puts image archives for boot to import.
func (r reset) images() string { return filepath.Join(r.Dirs.State, "images") }

// snapshots is where the loop puts snapshots of etcd: what a cluster may have to be
// made again of is not for a reset to remove without a word.
func (r reset) snapshots() string { return filepath.Join(r.Dirs.State, "snapshots") }

// own removes boot's directories, the journal after all else: as long as it is
// there, there is something to reset.
func (r reset) own(context.Context) ([]Change, error) {
	notes := []string{r.Journal.Path(), r.Journal.Path() + ".lock"}
	c := r.clearing(notes...)
	keep, err := r.keepsImages()
	if err != nil {
		return nil, err
	}
	c.whole[r.images()] = keep
	c.whole[r.snapshots()] = !r.Purge && exists(r.snapshots())
	dirs := []string{r.Dirs.Run, r.Dirs.State}
	if r.Purge {
		dirs = append(dirs, r.Dirs.Logs)
	}
	for _, dir := range dirs {
		if err := c.tree(dir); err != nil {
			return nil, err
		}
	}
	for _, path := range notes {
		delete(c.kept, path)
		if err := c.tree(path); err != nil {
			return nil, err
		}
	}
	err = c.empty(r.Dirs.State)
	return c.changes, err
}

// keepsImages says whether archives stay for a next cluster. A disk of archives
// stays in any case.
func (r reset) keepsImages() (bool, error) {
	if !exists(r.images()) {
		return false, nil
	}
	mounted, err := mountinfo.Mounted(r.images())
	return mounted || !r.Purge, err
}
