package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"boot.internal/images/pack"
)

const (
	storageRegistry = "registry.k8s.io/sig-storage/"
	snapshotter     = "github.com/kubernetes-csi/external-snapshotter/"
)

// A sidecar is a program of upstream's that runs beside a CSI driver.
type sidecar struct {
	program, pkg, version string
}

// sidecars are those that upstream's tests of storage deploy, in the versions
// that they ask for and the module sidecars pins, and the controller of
// snapshots, which they expect to find.
func sidecars() []sidecar {
	return []sidecar{
		{"csi-attacher", "github.com/kubernetes-csi/external-attacher/v4/cmd/csi-attacher", "v4.12.0"},
		{"csi-provisioner", "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner", "v6.3.0"},
		{"csi-resizer", "github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer", "v2.2.0"},
		{"csi-snapshotter", snapshotter + "v8/cmd/csi-snapshotter", snapshotterVersion},
		{snapshotController, snapshotter + "v8/cmd/snapshot-controller", snapshotterVersion},
	}
}

const (
	snapshotController = "snapshot-controller"
	snapshotterVersion = "v8.6.0"
)

// storageRecipes are the images of CSI drivers and what runs beside them. Those
// of the driver, of its registrar and of its probe hold stand-ins of ours: their
// modules are not to be had.
func storageRecipes(bin string, busybox pack.Tree) []pack.Recipe {
	one := func(program, version string, root pack.Tree) pack.Recipe {
		files := append(root[:len(root):len(root)], pack.Executable(program, filepath.Join(bin, program)))
		return imageOf(storageRegistry, program+":"+version, files, v1.Config{Entrypoint: []string{"/" + program}})
	}
	recipes := []pack.Recipe{
		one("hostpathplugin", "v1.17.1", busybox),
		one("csi-node-driver-registrar", "v2.17.0", nil),
		one("livenessprobe", "v2.19.0", nil),
	}
	for _, s := range sidecars() {
		recipes = append(recipes, one(s.program, s.version, nil))
	}
	return recipes
}

// snapshotManifests leaves in manifests what a cluster needs for snapshots
// beside the image: definitions of their kinds, and their controller.
func (o order) snapshotManifests(ctx context.Context) error {
	kinds, err := o.moduleDir(ctx, "sidecars", snapshotter+"client/v8")
	if err != nil {
		return err
	}
	controller, err := o.moduleDir(ctx, "sidecars", snapshotter+"v8")
	if err != nil {
		return err
	}
	target := filepath.Join(o.dir, "manifests")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	for _, pattern := range []string{
		filepath.Join(kinds, "config/crd/snapshot.storage.k8s.io_*.yaml"),
		filepath.Join(controller, "deploy/kubernetes", snapshotController, "*snapshot-controller.yaml"),
	} {
		if err := copyAll(pattern, target); err != nil {
			return err
		}
	}
	return nil
}

// copyAll copies the files that a pattern names, of which there is at least one.
func copyAll(pattern, target string) error {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("look for %s: %w", pattern, fs.ErrNotExist)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		// What is deployed there is the version before.
		text = regexp.MustCompile(snapshotController+`:v[0-9.]+`).ReplaceAll(text, []byte(snapshotController+":"+snapshotterVersion))
		if err := os.WriteFile(filepath.Join(target, filepath.Base(name)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
