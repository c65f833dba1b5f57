// Package kubelet is the embedded node agent: it wires sources, workers,
// probes, status, mirror pods, the node and the node's own API together. One
// goroutine turns what is desired into workers; everything that is decided is
// decided in the packages below.
//
// Nothing on the way from a manifest to a running container needs an API
// server: what talks to one runs beside it, and starts once there is one.
package kubelet

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/rotate"
	"boot.internal/timeline"
)

// Options say what the loop is to do and with what.
type Options struct {
	// Config is defaulted and validated.
	Config *kubeletv1beta1.KubeletConfiguration
	// Node is the name of this node.
	Node string
	// NodeIPs are the addresses of this node, the primary first.
	NodeIPs []string
	// ProvidedIPs are those of them that the user named, and ExternalCloud says that
	// a cloud controller manager is told of these and completes the node.
	ProvidedIPs   []string
	ExternalCloud bool
	// Labels are put on the Node when it is registered.
	Labels map[string]string
	// Kubeconfig leads to the API server; the file may come into being later.
	// Empty: there is no API server.
	Kubeconfig string
	// APIServers are API servers that are known from the start, "host:port". If
	// there are any, the loop has a port on loopback lead to whichever lives:
	// config.LocalAPI. Empty: it does not.
	APIServers []string
	// CredentialConfig and CredentialDir are where credential providers are
	// configured and their programs lie; there are none if either is empty.
	CredentialConfig, CredentialDir string
	// BootstrapKubeconfig leads to the API server while Kubeconfig does not yet:
	// with it a certificate is asked for. May be empty.
	BootstrapKubeconfig string
	// CertDir holds the certificates of the node; empty is pki in RootDir.
	CertDir string
	// RootDir holds pods and certificates: /var/lib/kubelet.
	RootDir string
	// StateDir holds what boot remembers: /var/lib/boot.
	StateDir string
	// PodLogsDir is podLogsDir of Config, and ContainerLogsDir /var/log/containers.
	PodLogsDir, ContainerLogsDir string
	// Version is the version of Kubernetes that the node reports, BootVersion that
	// of boot.
	Version, BootVersion string
	// Flags are those that boot was started with, for those who ask the node.
	Flags map[string]string
	// Socket is where commands of this host ask what the loop knows. Empty: nowhere.
	Socket string

	// Network connects the pods; nil leaves that to others.
	Network Network
	// Snapshots are taken of etcd's data, one every SnapshotEvery; nil or zero: none.
	Snapshots     Snapshots
	SnapshotEvery time.Duration
	// Importing waits while an image may still come as a file; nil if none
	// can come.
	Importing func(ctx context.Context, image string) error
	// EngineUp is closed once the container engine can be asked; nil: at any time.
	// Who asks too soon pauses before the next time, and longer each time.
	EngineUp <-chan struct{}
	// SandboxImage is the image of every sandbox, which the engine pulls by
	// itself: no sandbox is asked for while it may still come as a file.
	SandboxImage string
	// SandboxSeccomp is the path of a seccomp profile for sandboxes, as the engine
	// reads it; empty: the engine's default.
	SandboxSeccomp string
	// Certificates are renewed in time; nil if that is nobody's business here.
	Certificates Certificates
	// Rotation brings the node to the stages of a rotation of authorities; nil if the
	// node has no part in any.
	Rotation Rotation
	// Timeline is told what happens while the node comes up; nil: nobody is. It
	// belongs to the caller.
	Timeline *timeline.Writer
	// Ready is called once the loop watches its manifests and the container
	// engine answers.
	Ready func()
	// Heartbeat is run from then on, until its context ends. alive returns nil once the
	// loop has come round, or that it has not until its context ended. nil: nobody
	// wants to know.
	Heartbeat func(ctx context.Context, alive func(context.Context) error)
	Logger    *slog.Logger
	// Verbosity has more or less logged, as klog counts; nil: nobody can.
	Verbosity func(level int)
}

// Run runs pods until ctx ends. Then it returns, and the pods run on.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k, err := newKubelet(ctx, o)
	if err != nil {
		return err
	}
	k.events.ofNode(v1.EventTypeNormal, "Starting", "Starting kubelet.")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { k.balance(ctx); return nil })
	g.Go(func() error { k.runDesk(ctx); return nil })
	g.Go(func() error { k.readSources(ctx); return nil })
	g.Go(func() error { return k.runPods(ctx) })
	g.Go(func() error { k.ledger.Run(ctx); return nil })
	g.Go(func() error { k.runDevices(ctx); return nil })
	g.Go(func() error { k.tellDevices(ctx); return nil })
	g.Go(func() error { k.runPodsAPI(ctx); return nil })
	g.Go(func() error { return k.server.Run(ctx) })
	g.Go(func() error { return k.registerPlugins(ctx) })
	g.Go(func() error { return k.followAPI(ctx) })
	g.Go(func() error { k.renewCertificates(ctx); return nil })
	g.Go(func() error { k.takeSnapshots(ctx); return nil })
	return errors.Join(g.Wait(), k.close())
}

// runPods waits for the container engine and runs what is desired on it.
func (k *kubelet) runPods(ctx context.Context) error {
	if err := k.awaitEngine(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if err := k.newCgroups(ctx); err != nil {
		return err
	}
	k.newMeter()
	var g errgroup.Group
	g.Go(func() error { k.dispatch.run(ctx); return nil })
	g.Go(func() error { return k.hearEngine(ctx) })
	g.Go(func() error { k.relist(ctx, relistInterval); return nil })
	g.Go(func() error { k.watchEngine(ctx); return nil })
	g.Go(func() error { rotate.Run(ctx, k.rotation()); return nil })
	g.Go(func() error { k.enforce(ctx); return nil })
	g.Go(func() error { k.pressure.Run(ctx); return nil })
	g.Go(func() error { k.guardPods(ctx); return nil })
	g.Go(func() error { k.collector.Run(ctx); return nil })
	g.Go(func() error { k.pinContainers(ctx); return nil })
	if k.o.Ready != nil {
		k.o.Ready()
	}
	if k.o.Heartbeat != nil {
		g.Go(func() error { k.o.Heartbeat(ctx, k.dispatch.alive); return nil })
	}
	return g.Wait()
}

// awaitEngine returns once the container engine answers. It waits as long as it
// takes, until ctx ends: there is nothing else to do, and the engine may be
// installed later.
func (k *kubelet) awaitEngine(ctx context.Context) error {
	since := time.Now()
	if k.o.EngineUp != nil {
		select {
		case <-k.o.EngineUp:
		case <-ctx.Done():
			return nil
		}
	}
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		version, err := k.runtime.Version(ctx)
		if err == nil {
			k.o.Logger.LogAttrs(ctx, slog.LevelInfo, "container engine answers", slog.String("version", version))
			k.engine.Store(&engineState{version: version})
			k.diary.engineUp(since)
			return nil
		}
		k.o.Logger.LogAttrs(ctx, slog.LevelDebug, "wait for container engine", slog.Any("err", err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}
