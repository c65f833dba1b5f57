package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"boot.internal/images/pack"
)

func wrapContainerd() Wrapper {
	return Wrapper{"containerd", "github.com/containerd/containerd/v2", "CONTAINERD"}
}

func wrapCNI() Wrapper {
	return Wrapper{"cni", "github.com/containernetworking/plugins", "CNI_PLUGINS"}
}

func wrapRunc() Wrapper { return Wrapper{"runc", "github.com/opencontainers/runc", "RUNC"} }

// makeEngine builds the container engine: as programs to run from here, and
// packed as one flat directory for boot to carry.
func makeEngine(ctx context.Context, b *bench) error {
	var engine pack.Tree
	for _, c := range engineBuilds(b.versions) {
		dir, err := b.compile(ctx, c)
		if err != nil {
			return err
		}
		programs, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, p := range programs {
			file := filepath.Join(dir, p.Name())
			engine = append(engine, pack.Executable(p.Name(), file))
			if err := b.ship(file, "engine/bin/"+p.Name()); err != nil {
				return err
			}
		}
	}
	return b.write("engine.tar.zst", func(w io.Writer) error { return packEngine(w, engine, b.epoch) })
}

func packEngine(w io.Writer, engine pack.Tree, mtime time.Time) error {
	zw, err := pack.Compress(w, pack.EngineWindow)
	if err != nil {
		return err
	}
	if err := engine.WriteTar(zw, mtime); err != nil {
		return err
	}
	return zw.Close()
}

func engineBuilds(v Versions) []Build {
	containerd := wrapContainerd().Module
	cni := wrapCNI().Module
	return []Build{{
		Wrapper:  wrapContainerd(),
		Packages: []string{containerd + "/cmd/containerd", containerd + "/cmd/containerd-shim-runc-v2", containerd + "/cmd/ctr"},
		// boot uses overlayfs or the native snapshotter, and exports no traces.
		Tags: []string{"static_build", "netgo", "osusergo", "no_btrfs", "no_devmapper", "no_zfs", "no_tracing"},
		Stamp: map[string]string{
			containerd + "/version.Version":  v["CONTAINERD"],
			containerd + "/version.Revision": v["CONTAINERD"],
		},
	}, {
		Wrapper:  wrapRunc(),
		Packages: []string{wrapRunc().Module},
		Tags:     []string{"seccomp", "netgo", "osusergo", "urfave_cli_no_docs"},
		Stamp:    map[string]string{"main.gitCommit": v["RUNC"]},
		Cgo:      true, // for libseccomp, and for what has to run before Go's runtime
	}, {
		Wrapper: wrapCNI(),
		Packages: []string{
			cni + "/plugins/main/bridge", cni + "/plugins/main/loopback",
			cni + "/plugins/ipam/host-local", cni + "/plugins/meta/portmap",
		},
		Stamp: map[string]string{cni + "/pkg/utils/buildversion.BuildVersion": v["CNI_PLUGINS"]},
	}}
}
