package phases

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/journal"
)

// etcdData is the volume of etcd's pod that holds its data.
const etcdData = "etcd-data"

// begun says whether "boot init" has been at work here: if not, certificates
// and manifests are somebody else's. Where its first phase was skipped there is
// no journal to tell.
func (r reset) begun() (bool, error) {
	noted, err := r.noted()
	return noted || exists(filepath.Join(r.Dirs.Kubelet, "config.yaml")), err
}

// noted says whether the journal knows what was here before boot.
func (r reset) noted() (bool, error) {
	noted, err := r.Journal.Begun()
	return noted, unreadable(err)
}

// entries are those of the journal.
func (r reset) entries() ([]journal.Entry, error) {
	entries, err := r.Journal.Entries()
	return entries, unreadable(err)
}

func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return hint.With(err, "put the file right; without it, nothing that was there before boot is spared")
}

// ran says whether boot has run pods here, if only by "boot kubelet".
func (r reset) ran() (bool, error) {
	begun, err := r.begun()
	return begun || exists(r.Dirs.Run) || exists(filepath.Join(r.Dirs.State, "engine")), err
}

// clear plans what fill says. Nothing goes that was there before boot.
func (r reset) clear(fill func(*clearing) error) ([]Change, error) {
	entries, err := r.entries()
	if err != nil {
		return nil, err
	}
	var kept []string
	for _, e := range entries {
		if e.Kind == journal.Found {
			kept = append(kept, e.Name)
		}
	}
	c := r.clearing(kept...)
	if err := fill(c); err != nil {
		return nil, err
	}
	return c.changes, nil
}

// etcd removes what etcd keeps in its directory, and the directory if there is
// nothing else in it: it may be a disk of its own, with snapshots on it.
func (r reset) etcd(ctx context.Context) ([]Change, error) {
	if begun, err := r.begun(); err != nil || !begun {
		return nil, err
	}
	pod, err := readPod(r.manifest(config.ComponentEtcd))
	if err != nil {
		return nil, err
	}
	dir := volumePath(pod, etcdData)
	return r.clear(func(c *clearing) error {
		if dir == "" { // an init that was killed may have made it all the same
			return c.empty(r.Dirs.Etcd)
		}
		replaced, err := filepath.Glob(filepath.Join(dir, replacedPrefix+"*"))
		if err != nil {
			return err
		}
		for _, path := range append(replaced, filepath.Join(dir, "member"), filepath.Join(dir, restoreDirName)) {
			if err := c.tree(path); err != nil {
				return err
			}
		}
		if err := r.tell(ctx, c, dir); err != nil {
			return err
		}
		return c.empty(dir)
	})
}

// certs removes kubeadm's directory of certificates. Of another directory only
// the files go that boot may have made.
func (r reset) certs(ctx context.Context) ([]Change, error) {
	if begun, err := r.begun(); err != nil || !begun {
		return nil, err
	}
	pod, err := readPod(r.manifest(config.ComponentAPIServer))
	if err != nil {
		return nil, err
	}
	used := volumePath(pod, "k8s-certs")
	return r.clear(func(c *clearing) error {
		usual := filepath.Join(r.Dirs.Kubernetes, "pki")
		if err := c.tree(usual); err != nil {
			return err
		}
		if asked := r.Config.CertificatesDir; asked != usual && asked != used && exists(asked) {
			warn(ctx, "certificates in "+asked+" are kept: the API server of this node does not use them")
		}
		if used == "" || used == usual {
			return nil
		}
		return r.certsIn(ctx, c, used)
	})
}

func (r reset) certsIn(ctx context.Context, c *clearing, dir string) error {
	if noted, err := r.noted(); err != nil || !noted {
		warn(ctx, "certificates in "+dir+" are kept: nothing tells which of them boot has made")
		return err
	}
	for _, path := range certFiles(certs.Tree(dir)) {
		if err := c.file(path); err != nil {
			return err
		}
	}
	return errors.Join(c.empty(filepath.Join(dir, "etcd")), r.tell(ctx, c, dir), c.empty(dir))
}

func certFiles(t certs.Paths) []string {
	var files []string
	for _, pair := range []certs.Pair{
		t.CA, t.APIServer, t.APIServerKubeletClient, t.FrontProxyCA, t.FrontProxyClient,
		t.EtcdCA, t.EtcdServer, t.EtcdPeer, t.EtcdHealthcheckClient, t.APIServerEtcdClient, t.SA,
	} {
		files = append(files, pair.Cert, pair.Key)
	}
	return files
}

// kubernetes leaves manifests and kubeconfigs of other names alone.
func (r reset) kubernetes(ctx context.Context) ([]Change, error) {
	if begun, err := r.begun(); err != nil || !begun {
		return nil, err
	}
	return r.clear(func(c *clearing) error {
		for _, name := range []string{
			config.ComponentProxy, config.ComponentScheduler, config.ComponentControllerManager,
			config.ComponentAPIServer, config.ComponentEtcd,
		} {
			if err := c.file(r.manifest(name)); err != nil {
				return err
			}
		}
		k := certs.KubeconfigTree(r.Dirs.Kubernetes)
		for _, path := range []string{k.Admin, k.SuperAdmin, k.Kubelet, k.ControllerManager, k.Scheduler} {
			if err := c.file(path); err != nil {
				return err
			}
		}
		return errors.Join(
			r.tell(ctx, c, r.Dirs.Manifests), c.empty(r.Dirs.Manifests), c.empty(r.Dirs.Kubernetes),
			c.file(r.Dirs.XtablesLock), // made for kube-proxy's pod
		)
	})
}

// tell says what stays in a directory that boot has used and others use, too.
func (r reset) tell(ctx context.Context, c *clearing, dir string) error {
	left, err := c.left(dir)
	if err == nil && len(left) > 0 && !c.kept[dir] {
		warn(ctx, fmt.Sprintf("%s stays, with what boot did not put there: %s", dir, strings.Join(left, ", ")))
	}
	return ignoreMissing(err)
}

func (r reset) manifest(component string) string {
	return filepath.Join(r.Dirs.Manifests, component+".yaml")
}

// readPod returns the static pod of a manifest, nil if there is none.
func readPod(manifest string) (*corev1.Pod, error) {
	data, err := os.ReadFile(manifest)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	pod, err := parsePod(data)
	if err != nil {
		return nil, hint.With(fmt.Errorf("read %s: %w", manifest, err), "put it right, or remove it: then what it tells of stays")
	}
	return pod, nil
}

// parsePod reads the pod of a manifest.
func parsePod(manifest []byte) (*corev1.Pod, error) {
	var pod corev1.Pod
	if err := yaml.Unmarshal(manifest, &pod); err != nil {
		return nil, err
	}
	return &pod, nil
}

// volumePath returns the path that a volume of a pod has on the host, "" if
// there is no such pod or volume.
func volumePath(pod *corev1.Pod, volume string) string {
	if pod == nil {
		return ""
	}
	for _, v := range pod.Spec.Volumes {
		if v.Name == volume && v.HostPath != nil && filepath.IsAbs(v.HostPath.Path) {
			return filepath.Clean(v.HostPath.Path)
		}
	}
	return ""
}

// files removes what the loop keeps, and what containers have logged.
func (r reset) files(context.Context) ([]Change, error) {
	if ran, err := r.ran(); err != nil || !ran {
		return nil, err
	}
	noted, err := r.noted()
	if err != nil {
		return nil, err
	}
	return r.clear(func(c *clearing) error {
		if err := r.logLinks(c); err != nil {
			return err
		}
		if err := errors.Join(c.empty(r.Dirs.ContainerLogs), c.tree(r.Dirs.PodLogs), c.tree(r.Dirs.Kubelet)); err != nil {
			return err
		}
		if r.Engine == nil && !noted {
			return nil // the engine of others may have made the directories
		}
		return errors.Join(c.empty(r.Dirs.CNI), c.empty(filepath.Dir(r.Dirs.CNI)), c.empty(r.Dirs.Modules))
	})
}

// logLinks removes the links to the logs of pods.
func (r reset) logLinks(c *clearing) error {
	links, err := filepath.Glob(filepath.Join(r.Dirs.ContainerLogs, "*.log"))
	if err != nil {
		return err
	}
	for _, link := range links {
		to, err := os.Readlink(link)
		if err == nil && strings.HasPrefix(to, r.Dirs.PodLogs+"/") {
			c.add(link, os.Remove)
		}
	}
	return nil
}
