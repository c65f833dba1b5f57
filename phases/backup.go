package phases

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"boot.internal/backup"
	"boot.internal/config"
	"boot.internal/hint"
)

// BackupOptions are what a backup of this node is made with.
type BackupOptions struct {
	Dirs      Dirs
	Manifests string // directory of the static pods
	Node      string // name of this node
	Version   string // of boot
}

// Where things are in an archive.
const (
	archivedPKI        = "pki"        // all of the directory of certificates
	archivedKubernetes = "kubernetes" // the rest of /etc/kubernetes
	archivedManifests  = "manifests"  // static pods
	archivedKubelet    = "kubelet/config.yaml"
	archivedEtcd       = "etcd.db" // a snapshot
)

// Backup writes an archive of all that makes this node a control plane: its
// certificates and keys, kubeconfigs, configuration and manifests, and the data of
// the cluster. What is mounted from elsewhere is not in it. If it fails, w has a
// part of an archive, which nobody takes for a whole one.
func Backup(ctx context.Context, o BackupOptions, w io.Writer) error {
	snapshot := filepath.Join(o.Dirs.State, ".backup.db")
	defer func() { _ = os.Remove(snapshot) }() // what is left is replaced by the next
	if err := o.saveEtcd(ctx, snapshot); err != nil {
		return err
	}
	about, certDir, err := o.about()
	if err != nil {
		return err
	}
	b, err := backup.NewWriter(w, about)
	if err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	for _, dir := range []struct{ name, path, but string }{
		{archivedPKI, certDir, ""},
		{archivedManifests, o.Manifests, ""},
		{archivedKubernetes, o.Dirs.Kubernetes, "pki manifests"},
	} {
		if err := addTree(b, dir.name, dir.path, strings.Fields(dir.but)...); err != nil {
			return fmt.Errorf("write the archive: %w", err)
		}
	}
	if err := errors.Join(b.Add(archivedKubelet, filepath.Join(o.Dirs.Kubelet, "config.yaml")), b.Add(archivedEtcd, snapshot), b.Close()); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return nil
}

func (o BackupOptions) saveEtcd(ctx context.Context, to string) error {
	c, err := EtcdCluster(EtcdOptions{Manifests: o.Manifests, CertDir: config.DefaultCertificatesDir})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, err = c.SaveSnapshot(ctx, to)
	return err
}

// about reads from the manifest of the API server what the archive is of, and where
// the certificates are.
func (o BackupOptions) about() (about backup.About, certDir string, err error) {
	pod, err := readPod(filepath.Join(o.Manifests, config.ComponentAPIServer+".yaml"))
	if err != nil {
		return about, "", err
	}
	if pod == nil {
		return about, "", hint.With(errors.New("this node is no control plane"), "run this on one")
	}
	certDir = cmp.Or(volumePath(pod, "k8s-certs"), config.DefaultCertificatesDir)
	return backup.About{
		Taken: time.Now().UTC().Truncate(time.Second), Node: o.Node, Boot: o.Version, Kubernetes: config.DefaultKubernetesVersion,
		Address: net.JoinHostPort(flagOf(pod, "advertise-address"), cmp.Or(flagOf(pod, "secure-port"), "6443")),
	}, certDir, nil
}

// addTree adds the files of a directory but for some of its entries, and what was
// being written when its process was killed. Links are followed: what they lead to
// is not on the next machine.
func addTree(b *backup.Writer, name, dir string, but ...string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if slices.Contains(but, rel) {
			return filepath.SkipDir
		}
		fi, err := os.Stat(p)
		if err != nil || !fi.Mode().IsRegular() || strings.HasPrefix(d.Name(), ".") {
			return ignoreMissing(err)
		}
		return b.Add(path.Join(name, filepath.ToSlash(rel)), p)
	})
}
