package lab

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"boot.internal/filelock"
)

const (
	libDir     = "/var/lib/boot"
	archiveDir = libDir + "/images"
)

// archives are the components that hold images.
func archives() []string { return []string{"bundle.tar.zst", "images/testbox.tar"} }

// Import puts the component images where boot looks for them.
func (n *Node) Import(t testing.TB) {
	t.Helper()
	Must(t, n.linkArchives(t.Context()))
}

// Share gives the node the component images as if it had imported them. Nodes
// share them: the files are the same ones, which nobody writes to.
func (n *Node) Share(t testing.TB) {
	t.Helper()
	Must(t, n.ShareImages(t.Context(), BootBinary(t)))
}

// ShareImages gives a node on which nothing has run yet the component images.
// The first time, boot imports them on a node made for that; what its engine has
// then is kept beside the components.
func (n *Node) ShareImages(ctx context.Context, boot string) error {
	if err := n.linkArchives(ctx); err != nil {
		return err
	}
	seed, err := findSeed(ctx, boot)
	if err != nil {
		return fmt.Errorf("prepare images: %w", err)
	}
	if err := linkTree(seed, filepath.Join(n.plan.Dir, libDir)); err != nil {
		return fmt.Errorf("share images with %s: %w", n.Name, err)
	}
	return nil
}

// linkArchives puts the archives where boot looks for them.
func (n *Node) linkArchives(ctx context.Context) error {
	for _, name := range archives() {
		from, err := FindComponent(ctx, name)
		if err != nil {
			return err
		}
		to := filepath.Join(archiveDir, filepath.Base(name))
		if err := n.Do(func() error {
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			return os.Symlink(from, to) // the node sees the host's files
		}); err != nil {
			return err
		}
	}
	return nil
}

// findSeed returns a directory with what the engine keeps of the components, as
// it lies below /var/lib/boot. Whoever comes first makes it.
func findSeed(ctx context.Context, boot string) (dir string, err error) {
	key := sha256.New()
	for _, name := range append(archives(), "engine.tar.zst") {
		path, err := FindComponent(ctx, name)
		if err != nil {
			return "", err
		}
		fi, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintln(key, path, fi.Size(), fi.ModTime().UnixNano()) // what boot knows an archive by
		dir = filepath.Dir(path)
	}
	dir = filepath.Join(dir, "lab", fmt.Sprintf("%x", key.Sum(nil)[:8]))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	lock, err := filelock.Take(ctx, filepath.Join(filepath.Dir(dir), "lock"))
	if err != nil {
		return "", err
	}
	defer lock.Release()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, makeSeed(ctx, boot, dir)
}

// makeSeed has a node import the archives, and keeps what its engine has.
func makeSeed(ctx context.Context, boot, dir string) (err error) {
	tmp := dir + ".tmp"
	if err := os.RemoveAll(tmp); err != nil { // of somebody who was killed
		return err
	}
	l, err := OpenLAN("")
	if err != nil {
		return err
	}
	n, err := l.Add("images", filepath.Join(tmp, "node")) //nolint:contextcheck // nothing is started there
	if err != nil {
		return errors.Join(err, l.Close())
	}
	err = n.importAll(ctx, boot)
	if err == nil {
		err = n.PowerOff() // nobody writes to it from now on
	}
	for _, path := range seedPaths() {
		if err == nil {
			err = linkTree(filepath.Join(n.plan.Dir, libDir, path), filepath.Join(tmp, "seed", path))
		}
	}
	if err = errors.Join(err, n.Close(), l.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(filepath.Join(tmp, "seed"), dir), os.RemoveAll(tmp))
}

// seedPaths are what nodes can have in common of an engine: its programs, which
// archives it has read, content, snapshots, and what is known of them.
func seedPaths() []string {
	return []string{
		"engine",
		"containerd/io.containerd.content.v1.content/blobs",
		"containerd/io.containerd.metadata.v1.bolt",
		"containerd/io.containerd.snapshotter.v1.overlayfs",
	}
}

// importAll runs the loop of boot without pods until it has imported everything.
func (n *Node) importAll(ctx context.Context, boot string) error {
	const manifests = "/etc/manifests"
	if err := n.linkArchives(ctx); err != nil {
		return err
	}
	if err := n.Do(func() error { return os.Mkdir(manifests, 0o755) }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	if err := n.spawn(ctx, []string{boot, "kubelet", "--pod-manifest-path", manifests}); err != nil {
		return err
	}
	retry := time.NewTicker(50 * time.Millisecond) // boot tells nobody
	defer retry.Stop()
	for {
		err := n.imported()
		if err == nil {
			return nil
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return fmt.Errorf("import images: %w: %w", ctx.Err(), err)
		}
	}
}

// importTimeout is how long an engine may take to import everything.
const importTimeout = 10 * time.Minute

// imported returns what is missing.
func (n *Node) imported() error {
	data, err := os.ReadFile(filepath.Join(n.plan.Dir, libDir, "engine/imports.json"))
	if err != nil {
		return err
	}
	var known map[string]any
	if err := json.Unmarshal(data, &known); err != nil {
		return err
	}
	if len(known) < len(archives()) {
		return fmt.Errorf("%d archives of %d are imported", len(known), len(archives()))
	}
	return nil
}
