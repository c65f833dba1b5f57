package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"

	"boot.internal/balancer"
	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/cgroup"
	"boot.internal/kubelet/claim"
	"boot.internal/kubelet/device"
	"boot.internal/kubelet/evict"
	"boot.internal/kubelet/image"
	"boot.internal/kubelet/links"
	"boot.internal/kubelet/local"
	"boot.internal/kubelet/mirror"
	"boot.internal/kubelet/node"
	"boot.internal/kubelet/object"
	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/podcert"
	"boot.internal/kubelet/podsapi"
	"boot.internal/kubelet/probe"
	"boot.internal/kubelet/resize"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/runtimeclass"
	"boot.internal/kubelet/server"
	"boot.internal/kubelet/shutdown"
	"boot.internal/kubelet/source"
	"boot.internal/kubelet/spec"
	"boot.internal/kubelet/stats"
	"boot.internal/kubelet/status"
	"boot.internal/kubelet/token"
	"boot.internal/kubelet/tracing"
	"boot.internal/kubelet/trust"
	"boot.internal/kubelet/userns"
	"boot.internal/kubelet/volume"
	"boot.internal/kubelet/volume/csi"
	"boot.internal/kubelet/worker"
)

// A kubelet is the parts of the loop, put together.
type kubelet struct {
	o         Options
	conn      *runtime.Conn
	runtime   *runtime.Runtime
	images    *image.Puller
	volumes   *volume.Volumes
	csi       *csi.Drivers
	objects   *object.Store
	tokens    *token.Store
	bundles   *trust.Store
	podCerts  *podcert.Store
	refresher *refresher
	links     *links.Links          // nil without an API server
	classes   *runtimeclass.Classes // like links
	users     *userns.Ranges
	cgroups   *cgroup.Cgroups // made once the engine has said how
	prober    *probe.Prober
	node      *node.Keeper
	pressure  *evict.Watch
	guard     *shutdown.Guard // nil unless configured
	collector *image.Collector
	mirrors   *mirror.Reconciler
	api       *source.APIPods
	writer    *status.Writer
	server    *server.Server
	podsAPI   *podsapi.Server
	balancer  *balancer.Balancer // nil where the node does not choose its API server
	events    *events
	diary     *diary
	tracer    *tracing.Tracer // nil unless configured
	metrics   *metrics
	desk      *desk
	dispatch  *dispatcher
	looks     looks
	ledger    *resize.Ledger
	devices   *device.Lender
	places    *places // nil unless configured
	claims    *claim.Keeper
	facts     spec.Node // what pods get to see of the node

	identity identities
	rotator  *rotator                             // nil where nobody rotates authorities
	client   atomic.Pointer[kubernetes.Interface] // nil before there is an API server

	snapshots chan source.Snapshot // of all origins

	pending atomic.Pointer[[]string]       // sources that have not had their say
	engine  atomic.Pointer[engineState]    // nil before the engine answered
	reviews atomic.Pointer[server.Reviews] // nil before there is an API server
	meter   atomic.Pointer[stats.Meter]    // nil before the engine answered

	problems map[source.Problem]bool // told already; owned by merge

	offering sync.Mutex                 // held while offers change
	offers   atomic.Pointer[admit.Node] // what pods are admitted by

	mu       sync.Mutex                 // guards what follows
	now      []*v1.Pod                  // desired
	rejected []*v1.Pod                  // of those, not admitted
	going    []*v1.Pod                  // no longer desired, not gone
	heard    []*v1.Pod                  // desired by now, before anything is done about it
	said     bool                       // the three above are known
	over     map[types.UID]bool         // pods of which nothing runs any more
	evicted  map[types.UID]bool         // of the desired pods, until they are gone
	withheld map[types.UID]v1.PodStatus // see withhold
}

// newKubelet puts the parts together. What pokes a worker does so until ctx
// ends.
func newKubelet(ctx context.Context, o Options) (*kubelet, error) {
	o.Config = withReservedCPUs(o.Config)
	desk := newDesk(&o)
	k := &kubelet{o: o, desk: desk, events: newEvents(o.Node, o.Logger), dispatch: newDispatcher(o.Logger), metrics: newMetrics(), over: map[types.UID]bool{}, evicted: map[types.UID]bool{}, snapshots: make(chan source.Snapshot)}
	desk.server = local.NewServer(k.localState, o.Logger)
	var err error
	if k.tracer, err = tracing.New(ctx, o.Config.Tracing, o.Node, o.Logger); err != nil {
		return nil, err
	}
	k.podsAPI = podsapi.New(k.knownPods)
	k.diary = newDiary(o)
	k.diary.loopBegins()
	k.events.heard = k.diary.heard
	k.dispatch.newWorker, k.dispatch.desiredChanged = k.newWorker, k.setDesired
	k.dispatch.restarted, k.dispatch.started, k.dispatch.expired = k.metrics.podRestarted, k.startTime, k.sayExpired
	k.ledger = resize.Open(o.RootDir, k.neverResized, o.Logger)
	k.dispatch.preempted, k.dispatch.ledger, k.dispatch.resizeNews = k.sayPreempted, k.ledger, k.sayResize
	k.mirrors = mirror.New(mirror.Options{Node: o.Node, OnChange: k.mirrorChanged, Log: o.Logger})
	k.writer = status.NewWriter(status.WriterOptions{
		Mirrors: k.mirrors, Logger: o.Logger,
		Adopt: func(p *v1.Pod, held v1.PodStatus) { k.adopt(ctx, p, held) },
		Rush:  func() <-chan struct{} { return k.runtime.Rush() },
	})
	k.dispatch.admission = k.admission()
	k.rotator = k.newRotator()
	k.api = source.API(source.APIOptions{Node: o.Node, Also: k.mirrors.Store(), Log: o.Logger})
	if err := os.MkdirAll(o.RootDir, 0o755); err != nil { // what is measured must be there
		return nil, fmt.Errorf("make root directory: %w", err)
	}
	k.newBalancer(ctx)
	k.shareMounts()
	k.newObjects(ctx)
	if err := k.newNode(ctx); err != nil {
		return nil, err
	}
	k.newClaims(ctx)
	k.newDevices(ctx)
	if err := k.newPlaces(); err != nil {
		return nil, err
	}
	if err := k.newPods(ctx); err != nil {
		return nil, err
	}
	k.newCollector()
	k.newGuard(ctx)
	if err := k.newPressure(ctx); err != nil {
		return nil, errors.Join(err, k.close())
	}
	if err := k.newServer(); err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

// close ends what lives beside the goroutines of Run. Pods run on.
func (k *kubelet) close() error {
	defer k.tracer.Close()
	k.prober.Stop()
	return k.conn.Close()
}

// newNode makes what keeps the Node, and finds out what the machine has.
func (k *kubelet) newNode(ctx context.Context) error {
	c := k.o.Config
	ips, err := addresses(k.o.NodeIPs)
	if err != nil {
		return err
	}
	provided, err := addresses(k.o.ProvidedIPs)
	if err != nil {
		return err
	}
	k.node, err = node.New(node.Options{
		Name: k.o.Node, IPs: ips, Labels: k.o.Labels, Taints: c.RegisterWithTaints, ProviderID: c.ProviderID, Annotations: k.followsRotation(),
		Port: c.Port, Version: k.o.Version, MaxPods: c.MaxPods, PodsPerCore: c.PodsPerCore,
		SystemReserved: c.SystemReserved, KubeReserved: c.KubeReserved, EvictionHard: evictionOf(c).HardSettings(),
		NoLocalStorage: !ptr.Deref(c.LocalStorageCapacityIsolation, true),
		StatusEvery:    c.NodeStatusUpdateFrequency.Duration, ReportEvery: c.NodeStatusReportFrequency.Duration,
		LeaseFor: leaseFor(c), Machine: node.Machine{Dir: k.o.RootDir},
		NoRegister: !ptr.Deref(c.RegisterNode, true), NodeAttaches: !ptr.Deref(c.EnableControllerAttachDetach, true),
		Cloud: k.o.ExternalCloud, ProvidedIPs: provided,
		OnNode:     k.onNode,
		OnPodCIDRs: k.setPodCIDRs,
		Event:      k.events.ofNode,
		Log:        k.o.Logger,
	})
	if err != nil {
		return err
	}
	k.setNode(nil)
	capacity, allocatable, err := k.node.Resources()
	if err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "look at the machine", slog.Any("err", err))
	}
	k.facts = spec.Node{
		Name: k.o.Node, IPs: k.o.NodeIPs, ClusterDNS: c.ClusterDNS, ClusterDomain: c.ClusterDomain,
		Allocatable: allocatable, Memory: capacity.Memory().Value(), CPUPeriod: cpuPeriod(c),
		SeccompDir: filepath.Join(k.o.RootDir, "seccomp"), SeccompDefault: c.SeccompDefault != nil && *c.SeccompDefault,
	}
	k.lookAtHost(ctx)
	return nil
}

// newPods makes what runs pods.
func (k *kubelet) newPods(ctx context.Context) (err error) {
	c := k.o.Config
	k.newCSI(ctx)
	k.volumes = volume.New(volume.Options{
		PodsDir: k.podsDir(), Allocatable: func() v1.ResourceList { return k.facts.Allocatable }, Logger: k.o.Logger,
		Objects: k.objects, Tokens: k.tokens, Bundles: k.bundles, Certificates: k.podCerts,
		Client: k.apiClient, CSI: k.csi, Event: k.events.ofPod,
	})
	if k.conn, err = runtime.Dial(c.ContainerRuntimeEndpoint, c.ImageServiceEndpoint, append(k.tracer.Engine(), k.metrics.calls.Option())...); err != nil {
		return err
	}
	if k.images, err = k.newImages(); err != nil {
		return err
	}
	k.runtime = k.newRuntime()
	k.prober = probe.New(probe.Options{
		Exec: k.runtime.Exec, Poke: func(key pod.Key) { k.dispatch.poke(ctx, key) },
		Event: k.events.ofContainer, HostIPs: func() []string { return k.o.NodeIPs }, Logger: k.o.Logger,
	})
	return nil
}

func (k *kubelet) podsDir() string { return filepath.Join(k.o.RootDir, "pods") }

func (k *kubelet) newRuntime() *runtime.Runtime {
	c := k.o.Config
	resolvConf := ""
	if c.ResolverConfig != nil {
		resolvConf = *c.ResolverConfig
	}
	return runtime.New(k.withAPI(k.withUsers(runtime.Options{
		CRI: k.conn.Runtime, Images: k.noted(k.images),
		Volumes: k.volumes, Cgroups: k, Devices: equipment{k}, Node: k.nodeFacts,
		SandboxSeccomp: k.o.SandboxSeccomp,
		ResolvConf:     resolvConf, Timeout: c.RuntimeRequestTimeout.Duration, PodsDir: k.podsDir(), PodLogsDir: k.o.PodLogsDir, ContainerLogsDir: k.o.ContainerLogsDir,
		KillMessage: plan.Message, Event: k.events.ofContainer, Log: k.o.Logger,
	})))
}

func (k *kubelet) newServer() (err error) {
	if err := k.newServing(); err != nil {
		return err
	}
	c := k.o.Config
	cert, key := c.TLSCertFile, c.TLSPrivateKeyFile
	if cert == "" {
		cert, key = filepath.Join(k.certDir(), "kubelet.crt"), filepath.Join(k.certDir(), "kubelet.key")
	}
	k.server, err = server.New(k.withMeter(server.Options{
		Config: c, Node: k.o.Node, Version: k.o.Version, Flags: k.o.Flags, CertFile: cert, KeyFile: key, IPs: k.o.NodeIPs, Signed: k.identity.signed,
		Streams: k.conn.Runtime, Sandbox: k.sandboxOf, MirrorUID: k.mirrors.UIDFor,
		Pods: k, PodLogsDir: k.o.PodLogsDir, ContainerStatus: k.runtime.ContainerStatus,
		Metrics: k.metrics.registry(k), Health: k.health, Trace: k.tracer.Serve, Log: k.o.Logger, Verbosity: k.o.Verbosity,
		Reviews: func() server.Reviews {
			if r := k.reviews.Load(); r != nil {
				return *r
			}
			return nil
		},
	}))
	return err
}

func (k *kubelet) newWorker(key pod.Key) *worker.Worker {
	planner := plan.Planner{}
	if longest := k.o.Config.CrashLoopBackOff.MaxContainerRestartPeriod; longest != nil {
		planner.MaxBackoff = longest.Duration
	}
	return worker.New(key, worker.Options{
		Runtime: gate{k.runtime, k},
		Prober:  k.prober, Plan: planner.For, Say: k.say, Release: k.release, Clean: k.clean, Sync: k.tracer.Sync, Logger: k.o.Logger,
	})
}

// release gives back what a pod holds that is over.
func (k *kubelet) release(ctx context.Context, p *v1.Pod) error {
	if err := k.giveBackClaims(ctx, p); err != nil {
		return err
	}
	if err := errors.Join(k.volumes.Release(ctx, p.UID), k.cgroups.Remove(p.UID)); err != nil {
		return err
	}
	k.devices.Forget(p.UID)
	k.places.forget(p.UID)
	k.writer.Release(p)
	return nil
}

// clean removes what a pod left behind, but for its logs: those are read after
// the end, and tell how often a container was started (SP-43).
func (k *kubelet) clean(ctx context.Context, _ pod.Key, uid types.UID) error {
	k.writer.Forget(uid)
	k.ledger.Forget(uid)
	k.devices.Forget(uid)
	k.places.forget(uid)
	k.noteOver(uid, false)
	k.forgetEvicted(uid)
	k.forgetClaims(ctx, uid)
	if err := errors.Join(k.volumes.Teardown(ctx, uid), k.cgroups.Remove(uid)); err != nil {
		return err
	}
	k.users.Release(uid)
	return nil
}

// addresses reads IPs.
func addresses(ips []string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, ip := range ips {
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return nil, fmt.Errorf("read node IP: %w", err)
		}
		all = append(all, a)
	}
	return all, nil
}

// newCgroups makes what keeps the control groups, by the driver that the engine
// uses, whatever the configuration says: two that disagree fight over every
// container (KEP-4033). The configuration of a whole cluster cannot know every host.
func (k *kubelet) newCgroups(ctx context.Context) error {
	c := k.o.Config
	driver, err := k.runtime.CgroupDriver(ctx)
	if err != nil {
		return err
	}
	if c.CgroupDriver != "" && c.CgroupDriver != driver {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "cgroupDriver is that of the container engine, not of the configuration",
			slog.String("engine", driver), slog.String("configuration", c.CgroupDriver))
	}
	k.cgroups, err = cgroup.New(cgroup.Options{
		Driver: cgroup.Driver(driver), Root: c.CgroupRoot, Allocatable: k.shareOfPods(),
		HugePageSizes: k.facts.HugePageSizes, PodPids: podPids(c), QuotaPeriod: cpuPeriod(c), NoQuota: cpuPeriod(c) == 0, Unhurried: k.hasOwnCPUs, QOS: status.QOSClass, Keep: k.facts.Keep, Kept: k.metrics.kept.set, Logger: k.o.Logger,
	})
	return err
}

// Create makes the control group of a pod.
func (k *kubelet) Create(p *v1.Pod) (parent string, err error) { return k.cgroups.Create(p) }

// Raise raises limits of the control group of a pod.
func (k *kubelet) Raise(p *v1.Pod) error { return k.cgroups.Raise(p) }

// Update sets the limits of the control group of a pod.
func (k *kubelet) Update(p *v1.Pod) error { return k.cgroups.Update(p) }

func podPids(c *kubeletv1beta1.KubeletConfiguration) int64 {
	if c.PodPidsLimit == nil {
		return 0
	}
	return max(*c.PodPidsLimit, 0)
}
