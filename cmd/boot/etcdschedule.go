package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"boot.internal/config"
	"boot.internal/phases"
)

// A shelf takes the snapshots of the schedule for the loop. It connects to etcd for
// one snapshot at a time: the loop has no other use for it.
type shelf struct{ config *config.Loop }

// Here implements kubelet.Snapshots.
func (s shelf) Here() bool {
	dir := s.config.Kubelet.StaticPodPath
	if dir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, config.ComponentEtcd+".yaml"))
	return err == nil
}

// Last implements kubelet.Snapshots.
func (s shelf) Last() (time.Time, error) { return snapshots().Last() }

// Take implements kubelet.Snapshots.
func (s shelf) Take(ctx context.Context) (path string, size int64, err error) {
	cluster, err := phases.EtcdCluster(phases.EtcdOptions{Manifests: s.config.Kubelet.StaticPodPath, CertDir: config.DefaultCertificatesDir})
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = cluster.Close() }()
	taken, err := snapshots().Take(ctx, cluster, time.Now(), s.config.Boot.Snapshots.Keep)
	if taken.Digest == "" { // it was not taken
		return "", 0, err
	}
	giveBack() // what it took stays the kernel's
	return taken.Path, taken.Size, err
}
