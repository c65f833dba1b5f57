package main

import (
	"context"
	"os"
	"path/filepath"

	"boot.internal/images/pack"
)

// wrapEtcd is one of the modules of etcd, which share a wrapper and a version.
func wrapEtcd(module string) Wrapper {
	return Wrapper{"etcd", "go.etcd.io/etcd/" + module + "/v3", "ETCD"}
}

func etcdImage(v Versions) string { return registry + "etcd:" + v["ETCD_IMAGE"] }

func makeEtcd(ctx context.Context, b *bench) error {
	programs, err := b.compile(ctx, Build{
		Wrapper:  wrapEtcd("server"),
		Packages: []string{"go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3"},
		Stamp:    map[string]string{"go.etcd.io/etcd/api/v3/version.GitSHA": b.versions["ETCD"]},
	})
	if err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(programs, "server"), filepath.Join(programs, "etcd")); err != nil {
		return err
	}
	for _, name := range []string{"etcdctl", "etcdutl"} {
		if err := b.ship(filepath.Join(programs, name), "bin/"+name); err != nil {
			return err
		}
	}
	return b.archive(etcdRecipe(b.versions, programs))
}

func etcdRecipe(v Versions, programs string) pack.Recipe {
	r := service(etcdImage(v), programs, "etcd", "etcdctl", "etcdutl")
	r.Config.ExposedPorts = map[string]struct{}{"2379/tcp": {}, "2380/tcp": {}}
	return r
}
