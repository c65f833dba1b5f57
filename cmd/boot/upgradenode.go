package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/hint"
	"boot.internal/phases"
	"boot.internal/service"
)

// An upgradeHost is this host as a node of its cluster, before it is upgraded.
type upgradeHost struct {
	ui        *ui
	cfg       *config.Upgrade
	dirs      phases.Dirs
	installed service.Installation
	note      *phases.UpgradeNote // of a run that was killed; nil if there is none
	loop      *config.Loop
	name      string
	api       *config.APIEndpoint // nil on a worker

	access *rest.Config
	client kubernetes.Interface
	survey phases.Survey
	live   bool // it is the cluster's own, and not from the note
	shared *config.Shared
}

// resumedPatience is how long a run that is gone on with waits for the API server
// that it may itself have left halfway.
const resumedPatience = 15 * time.Second

// newUpgradeHost finds out what this host is, and asks the cluster what it is.
func newUpgradeHost(ctx context.Context, ui *ui, cfg *config.Upgrade) (*upgradeHost, error) {
	h := &upgradeHost{ui: ui, cfg: cfg, dirs: phases.DefaultDirs()}
	if err := h.findLoop(); err != nil {
		return nil, err
	}
	var err error
	if h.api, err = phases.LocalAPIServer(h.loop.Kubelet.StaticPodPath); err != nil {
		return nil, err
	}
	if err := h.connect(); err != nil {
		return nil, err
	}
	if err := h.ask(ctx); err != nil {
		return nil, err
	}
	h.shared, err = config.DecodeShared(h.survey.Documents)
	return h, err
}

// findLoop finds out how the loop is run, and what it was told.
func (h *upgradeHost) findLoop() error {
	var err error
	if h.note, err = phases.ReadUpgradeNote(stateDir); err != nil {
		return err
	}
	h.installed, err = service.Installed(service.Options{RunDir: runDir})
	if errors.Is(err, service.ErrNotInstalled) {
		if h.note == nil {
			return hint.With(err, "run this on a node that 'boot init' or 'boot join' has made, while its node agent runs")
		}
		h.installed, err = service.Installation{Executable: h.note.Executable, Args: h.note.Args}, nil
	}
	if err != nil {
		return err
	}
	path := h.arg("config")
	if h.loop, err = config.LoadKubelet(config.LoopOptions{Path: path, DropIns: h.arg("config-dir")}); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if h.name = h.arg("hostname-override"); h.name == "" {
		host, err := config.ReadHost()
		h.name = host.Name
		return err
	}
	return nil
}

// arg returns the value of a flag that the loop is run with.
func (h *upgradeHost) arg(name string) string { return flagOf(h.installed.Args, name) }

// connect prepares to ask: on a control plane its own API server as the
// administrator, and on a worker as the node.
func (h *upgradeHost) connect() error {
	tree := certs.KubeconfigTree(h.dirs.Kubernetes)
	path := tree.Kubelet
	if h.api != nil {
		path = tree.SuperAdmin
		if _, err := os.Stat(path); err != nil {
			path = tree.Admin
		}
	}
	var err error
	if h.access, err = clientcmd.BuildConfigFromFlags("", path); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	h.access.QPS = -1 // what is asked for is little
	h.access.Timeout = 10 * time.Second
	h.access.WarningHandler = rest.NoWarnings{}
	if h.api != nil {
		h.access.Host = "https://" + net.JoinHostPort(h.api.AdvertiseAddress, strconv.Itoa(int(h.api.BindPort)))
	}
	h.client, err = kubernetes.NewForConfig(h.access)
	return err
}

// ask asks the cluster what it is. Where a run was killed that had its API server
// in its hands, what it has noted will do.
func (h *upgradeHost) ask(ctx context.Context) error {
	patience := h.cfg.Timeouts.KubernetesAPICall.Duration
	if h.note != nil {
		patience = min(patience, resumedPatience)
	}
	var err error
	h.survey, err = phases.Ask(ctx, h.client, h.api != nil, patience)
	h.live = err == nil
	if err == nil || h.note == nil || ctx.Err() != nil {
		return err
	}
	h.ui.warn(fmt.Sprintf("the cluster does not answer; going on with what the run before has noted: %v", err))
	h.survey = phases.Survey{Documents: h.note.Documents}
	return nil
}

// version is the one that this node is at: that of its API server, or of the
// cluster.
func (h *upgradeHost) version() (string, error) {
	if h.api == nil {
		return h.shared.Cluster.KubernetesVersion, nil
	}
	return phases.ManifestVersion(h.loop.Kubelet.StaticPodPath, config.ComponentAPIServer)
}

// node returns the configuration of this node at a version.
func (h *upgradeHost) node(version string) *config.Init {
	shared := *h.shared
	shared.Cluster.KubernetesVersion = version
	return config.Member{
		Name: h.name, API: h.api, Address: h.arg("node-ip"), CRISocket: h.loop.Kubelet.ContainerRuntimeEndpoint,
		Boot: h.loop.Boot, Patches: h.cfg.Patches, Timeouts: h.cfg.Timeouts,
	}.Node(shared)
}

// etcd returns a client of the etcd of this control plane, nil if somebody else
// runs that. The caller closes it.
func (h *upgradeHost) etcd() (*etcd.Cluster, error) {
	if h.api == nil || h.shared.Cluster.Etcd.External != nil {
		return nil, nil
	}
	return phases.EtcdCluster(phases.EtcdOptions{
		Manifests: h.loop.Kubelet.StaticPodPath, CertDir: cmp.Or(h.shared.Cluster.CertificatesDir, config.DefaultCertificatesDir),
	})
}
