package phases

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"boot.internal/atomicfile"
	"boot.internal/backup"
	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/templates"
)

// RestoreOptions are the values the phases of "boot restore" are built with.
type RestoreOptions struct {
	// Init has the configuration of [RestoredConfig].
	Init     InitOptions
	Archive  *backup.Archive
	Snapshot etcd.Snapshot  // that of the archive, verified
	Rollout  RolloutOptions // how static pods of this node are looked at
	Images   Images
	// Same says that the node keeps its name and address. If not, whatever names
	// them is made anew: certificates, kubeconfigs, manifests.
	Same bool
}

// ArchivedSnapshot returns the snapshot of etcd in an archive, verified.
func ArchivedSnapshot(a *backup.Archive) (etcd.Snapshot, error) {
	return etcd.ReadSnapshot(a.Path(archivedEtcd))
}

// Restore returns the phases of "boot restore": those of init, on top of the
// authorities and the data of the archive. What the cluster stores is in the data,
// and is left as it is. Killed anywhere, the same phases go on.
func Restore(o RestoreOptions) ([]Step, error) {
	pki, err := pkiOptions(o.Init.Config, o.Init.Dirs)
	if err != nil {
		return nil, err
	}
	cfg := o.Init.Config
	s := seed{o.Snapshot, restoredMember{
		name: cfg.Init.NodeRegistration.Name, peerURL: templates.EtcdPeerURL(cfg),
		dataDir: cfg.Cluster.Etcd.Local.DataDir, image: cfg.Cluster.Image(config.ComponentEtcd),
	}, o.Rollout, time.Now}
	var steps []Step
	for _, step := range initSteps(o.Init, certs.New(pki)) {
		if o.stored(step.Name) {
			continue
		}
		if step.Name == "etcd/local" {
			steps = append(steps,
				Step{"restore/data", "Make the data of etcd of the snapshot", o.withImage(s)},
				Step{"restore/swap", "Put the data where etcd has it", s.swap()},
			)
		}
		if phase := o.archived(step.Name); phase != nil {
			step.Phase = phase
		}
		steps = append(steps, step)
		if step.Name == "preflight" {
			steps = append(steps, Step{"restore/files", "Put the certificates of the cluster in place", PlanFunc(o.files)})
		}
	}
	return append(steps,
		Step{"restore/pods", "Put the manifests of other static pods in place", PlanFunc(o.pods)},
		Step{"restore/tidy", "Remove what told how far the restore had come", s.tidy()},
	), nil
}

// stored says whether a phase of init does what the data of the cluster has already,
// as people may have changed it since.
func (o RestoreOptions) stored(step string) bool {
	switch step {
	case "addon/coredns", "addon/network", "cluster-admins", "upload-config/kubeadm", "upload-config/kubelet", "upload-config/boot", "upload-certs":
		return true
	case "bootstrap-token", "mark-control-plane", "kubelet-finalize/approve-serving-certs":
		return o.Same
	case "addon/kube-proxy":
		return !slices.Contains(o.Archive.Files, o.manifest(config.ComponentProxy))
	}
	return false
}

func (o RestoreOptions) manifest(component string) string {
	return archivedManifests + "/" + component + ".yaml"
}

// archived returns the phase that puts a manifest of the archive in place as it is,
// patches of people's included; nil where it is to be made anew.
func (o RestoreOptions) archived(step string) Phase {
	component, ok := map[string]string{
		"control-plane/apiserver":          config.ComponentAPIServer,
		"control-plane/controller-manager": config.ComponentControllerManager,
		"control-plane/scheduler":          config.ComponentScheduler,
	}[step]
	if !ok || !o.Same {
		return nil
	}
	return PlanFunc(func(context.Context) ([]Change, error) {
		data, err := os.ReadFile(o.Archive.Path(o.manifest(component)))
		if err != nil {
			return nil, err
		}
		return planFile(filepath.Join(o.Init.Config.Kubelet.StaticPodPath, component+".yaml"), data, 0o600)
	})
}

// withImage is the phase that makes the data, once the image for that is there.
func (o RestoreOptions) withImage(s seed) Phase {
	return PlanFunc(func(ctx context.Context) ([]Change, error) {
		changes, err := s.make().Plan(ctx)
		if err != nil || len(changes) == 0 {
			return nil, err
		}
		get := Change{"get the image " + s.member.image, func(ctx context.Context) error { return o.Images.Get(ctx, s.member.image) }}
		dir, err := planDir(s.member.dataDir)
		return slices.Concat([]Change{get}, dir, changes), err
	})
}

// files puts in place what is not there: whatever does not fit the node is made anew
// by the phases that follow.
func (o RestoreOptions) files(context.Context) ([]Change, error) {
	kubeconfigs := certs.KubeconfigTree(o.Init.Dirs.Kubernetes)
	made := []string{kubeconfigs.Admin, kubeconfigs.SuperAdmin, kubeconfigs.Kubelet, kubeconfigs.ControllerManager, kubeconfigs.Scheduler}
	var changes []Change
	for _, name := range o.Archive.Files {
		to := ""
		if rel, ok := strings.CutPrefix(name, archivedPKI+"/"); ok {
			to = filepath.Join(o.Init.Config.Cluster.CertificatesDir, filepath.FromSlash(rel))
		} else if rel, ok := strings.CutPrefix(name, archivedKubernetes+"/"); ok {
			to = filepath.Join(o.Init.Dirs.Kubernetes, filepath.FromSlash(rel))
		}
		if to == "" || exists(to) || slices.Contains(made, to) && !o.Same {
			continue
		}
		changes = append(changes, o.put(name, to))
	}
	return changes, nil
}

// put is the change that makes a file what it is in the archive.
func (o RestoreOptions) put(name, to string) Change {
	return Change{"write " + to, func(context.Context) error {
		from := o.Archive.Path(name)
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		fi, err := os.Stat(from)
		if err != nil {
			return err
		}
		return atomicfile.Write(to, data, fi.Mode().Perm())
	}}
}

// pods puts the manifests in place that are nobody's but the user's.
func (o RestoreOptions) pods(context.Context) ([]Change, error) {
	var changes []Change
	for _, name := range o.Archive.Files {
		rel, ok := strings.CutPrefix(name, archivedManifests+"/")
		if !ok || slices.Contains(componentFiles(), rel) {
			continue
		}
		data, err := os.ReadFile(o.Archive.Path(name))
		if err != nil {
			return nil, fmt.Errorf("read the archive: %w", err)
		}
		write, err := planFile(filepath.Join(o.Init.Config.Kubelet.StaticPodPath, filepath.FromSlash(rel)), data, 0o600)
		if err != nil {
			return nil, err
		}
		changes = append(changes, write...)
	}
	return changes, nil
}

// componentFiles are the manifests that the phases of init write, and the one of a
// restore that was killed.
func componentFiles() []string {
	var files []string
	for _, name := range []string{
		config.ComponentEtcd, config.ComponentAPIServer, config.ComponentControllerManager, config.ComponentScheduler, config.ComponentProxy,
		templates.EtcdRestoreName,
	} {
		files = append(files, name+".yaml")
	}
	return files
}
