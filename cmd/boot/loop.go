package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"boot.internal/config"
	"boot.internal/engine"
	"boot.internal/kubelet"
	"boot.internal/kubelet/local"
	"boot.internal/network/flannel"
	"boot.internal/phases"
	"boot.internal/service"
	"boot.internal/timeline"
)

// Where boot keeps its things, unless a flag says otherwise.
const (
	stateDir         = "/var/lib/boot"
	runDir           = "/run/boot"
	podLogsDir       = "/var/log/pods"
	containerLogsDir = "/var/log/containers"
)

// A loop is what "boot kubelet" runs: the engine, where it is boot's own, the
// import of image archives, and the kubelet on top.
type loop struct {
	config   *config.Loop
	flags    kubeletFlags
	host     config.Host
	engine   *engine.Engine
	importer *engine.Importer
	timeline *timeline.Writer
	archives sync.Map      // paths of those whose reading is noted
	engineUp chan struct{} // closed once the engine is started
	log      *slog.Logger
	logs     *loopLog // the same, to have it say more or less

	nodeIPs  []netip.Addr
	provided []string // those of them that were named
}

// runKubelet runs the loop in the foreground, or its supervisor.
func runKubelet(ctx context.Context, ui *ui, f kubeletFlags) error {
	cfg, err := config.LoadKubelet(config.LoopOptions{Path: f.config, DropIns: f.dropIns})
	if err != nil {
		return withCode(exitValidation, err)
	}
	for _, w := range cfg.Warnings {
		ui.warn(w)
	}
	frugal()
	if f.supervise {
		args := withoutSupervise(os.Args[1:])
		giveBack() // a supervisor only waits
		return service.Supervise(ctx, serviceOptions(cfg.Boot, args, ui.serviceLogger()))
	}
	lock, err := service.Claim(runDir)
	if err != nil {
		return err
	}
	defer lock.Release()
	l, err := newLoop(ctx, ui, f, cfg)
	if err != nil {
		return err
	}
	if err := l.readyHost(ctx); err != nil {
		return err
	}
	l.setOOMScore(ctx)
	return l.run(ctx)
}

// readyHost loads modules and makes settings that a restart of the host has
// forgotten, or that nobody made yet. Pods may well run without, unless the
// configuration says otherwise.
func (l *loop) readyHost(ctx context.Context) error {
	ipv6 := slices.ContainsFunc(l.host.Default, netip.Addr.Is6)
	runner := phases.Runner{Report: func(e phases.Event) {
		if e.State == phases.Changing || e.State == phases.Warned {
			l.log.LogAttrs(ctx, slog.LevelInfo, "ready the host", slog.String("phase", e.Step), slog.String("change", e.Text))
		}
	}}
	err := runner.Run(ctx, []phases.Step{{Name: "host", Phase: phases.Ready(phases.ReadyOptions{
		Journal: hostJournal(), IPv6: ipv6, ProtectKernelDefaults: l.config.Kubelet.ProtectKernelDefaults,
	})}})
	if _, refused := errors.AsType[*phases.ProtectedError](err); refused {
		return err
	}
	if err != nil {
		l.log.LogAttrs(ctx, slog.LevelWarn, "ready the host", slog.Any("err", err))
	}
	return nil
}

func withoutSupervise(args []string) []string {
	var rest []string
	for _, a := range args {
		if a != service.SuperviseFlag {
			rest = append(rest, a)
		}
	}
	return rest
}

// serviceOptions say how the loop lives on.
func serviceOptions(b config.BootConfiguration, args []string, log *slog.Logger) service.Options {
	return service.Options{Args: args, RunDir: runDir, MaxSizeMB: b.Log.MaxSizeMB, MaxFiles: b.Log.MaxFiles, Log: log}
}

func newLoop(ctx context.Context, ui *ui, f kubeletFlags, cfg *config.Loop) (*loop, error) {
	host, err := config.ReadHost()
	if err != nil {
		return nil, err
	}
	log := ui.newLoopLog(&cfg.Kubelet.Logging)
	l := &loop{config: cfg, flags: f, host: host, log: log.Logger, logs: log, engineUp: make(chan struct{})}
	if err := l.readNodeFlags(); err != nil {
		return nil, withCode(exitValidation, err)
	}
	if f.podPath != "" {
		cfg.Kubelet.StaticPodPath = f.podPath
	}
	if f.socket != "" {
		cfg.Kubelet.ContainerRuntimeEndpoint = f.socket
	}
	l.engine, err = engine.Find(ctx, engine.Options{
		Socket: cfg.Kubelet.ContainerRuntimeEndpoint, Mode: engine.Mode(cfg.Boot.Engine), Dir: stateDir, RunDir: runDir,
		CgroupDriver: cfg.Kubelet.CgroupDriver, Log: l.log,
	})
	if err != nil {
		return nil, err
	}
	cfg.Kubelet.ContainerRuntimeEndpoint = l.engine.Endpoint()
	l.importer = l.engine.NewImporter(cfg.Boot.ImagesDir, func(im engine.Imported) {
		l.noteImport(im)
		l.log.LogAttrs(ctx, slog.LevelInfo, "imported image", slog.String("image", im.Image), slog.Duration("took", im.Took))
	})
	return l, nil
}

// findEngine finds the container engine that the configuration asks for.
func findEngine(ctx context.Context, b config.BootConfiguration, socket string, log *slog.Logger) (*engine.Engine, error) {
	return engine.Find(ctx, engine.Options{
		Socket: socket, Mode: engine.Mode(b.Engine), Dir: stateDir, RunDir: runDir, Log: log,
	})
}

// run runs engine, import and kubelet until ctx ends. Pods run on, and so does
// the engine.
func (l *loop) run(ctx context.Context) error {
	l.timeline = timeline.NewWriter(timeline.Options{Dir: timelineDir, By: timeline.LoopName, Log: l.log})
	defer l.timeline.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.runEngine(ctx) })
	g.Go(func() error { return kubelet.Run(ctx, l.options()) })
	g.Go(func() error { stayFrugal(ctx); return nil })
	return g.Wait()
}

// runEngine starts the engine, if it is boot's own, gives it the images that lie
// about as archives, and keeps it running. What is wrong with an archive keeps no
// pod from running: its images are pulled.
func (l *loop) runEngine(ctx context.Context) error {
	start := l.timeline.Begin(timeline.Record{Kind: timeline.Engine, Needs: []string{string(timeline.Loop)}})
	err := l.engine.Start(ctx)
	l.timeline.End(start, err)
	if err != nil {
		return err
	}
	close(l.engineUp)
	var g errgroup.Group
	g.Go(func() error { l.engine.Run(ctx); return nil })
	g.Go(func() error {
		if err := l.importer.Run(ctx); err != nil && ctx.Err() == nil {
			l.log.LogAttrs(ctx, slog.LevelError, "import images", slog.Any("err", err))
		}
		// Unpacking took a hundred times the memory that the loop needs from now on.
		giveBack()
		return nil
	})
	return g.Wait()
}

// options are what the kubelet is to do and with what.
func (l *loop) options() kubelet.Options {
	o := kubelet.Options{
		Config: &l.config.Kubelet, Node: l.nodeName(), NodeIPs: texts(l.nodeIPs), Labels: l.flags.nodeLabels,
		ProvidedIPs: l.provided, ExternalCloud: l.flags.cloud == externalCloud,
		BootstrapKubeconfig: l.flags.bootstrap, CertDir: l.flags.certDir,
		CredentialConfig: l.flags.credentialConfig, CredentialDir: l.flags.credentialDir,
		Kubeconfig: l.flags.kubeconfig, APIServers: l.config.Boot.APIServers, RootDir: l.flags.rootDir, StateDir: stateDir,
		PodLogsDir: l.config.Kubelet.PodLogsDir, ContainerLogsDir: containerLogsDir, Version: config.DefaultKubernetesVersion, BootVersion: version, Flags: l.flags.all, Socket: local.Socket(runDir),
		Importing: l.importer.Await, EngineUp: l.engineUp, SandboxImage: engine.PauseImage, SandboxSeccomp: l.engine.SandboxSeccomp(), Timeline: l.timeline, Logger: l.log, Verbosity: l.logs.set, Certificates: l.certificates(), Rotation: l.rotation(),
		Ready: func() {
			if err := service.Ready(); err != nil {
				l.log.LogAttrs(context.Background(), slog.LevelWarn, "tell the supervisor", slog.Any("err", err))
			}
		},
		Heartbeat: func(ctx context.Context, alive func(context.Context) error) {
			if err := service.Heartbeat(ctx, alive, l.log); err != nil {
				l.log.LogAttrs(ctx, slog.LevelError, "nobody watches over the loop", slog.Any("err", err))
			}
		},
	}
	o.Snapshots, o.SnapshotEvery = shelf{l.config}, l.config.Boot.Snapshots.Every.Duration
	if l.config.Boot.Network != config.NetworkNone {
		o.Network = flannel.New(flannel.Options{Node: o.Node, NodeIPs: l.nodeIPs, Log: l.log})
	}
	return o
}

func (l *loop) nodeName() string {
	if l.flags.nodeName != "" {
		return l.flags.nodeName
	}
	return strings.ToLower(l.host.Name)
}

// serviceLogger returns the log of a process without a user: text, with what is
// done.
func (u *ui) serviceLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(u.err, &slog.HandlerOptions{Level: min(u.level(), slog.LevelInfo)}))
}
