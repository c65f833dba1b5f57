// Package node keeps the Node object of this machine: it registers it, keeps
// its status and lease, and makes it anew should somebody delete it.
//
// It decides what the API is told about the machine and when: at once when
// something of note changes, now and then otherwise. It finds out for itself
// what the hardware has, and is told what the container runtime is up to.
// Pressure and images are found out by others. Nothing here is on the way
// of a static pod.
package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// An API is the part of the API a Keeper uses; a clientset is one.
type API interface {
	CoreV1() corev1.CoreV1Interface
	CoordinationV1() coordinationv1.CoordinationV1Interface
}

// Options describe the node as its user configured it.
type Options struct {
	Name       string
	Hostname   string            // address of type Hostname; "" is Name
	IPs        []netip.Addr      // --node-ip; none is the address of the default route
	Labels     map[string]string // --node-labels, at registration
	Taints     []v1.Taint        // registerWithTaints
	ProviderID string
	// Annotations say what this loop can do; they are put right at each start.
	Annotations map[string]string
	// NoRegister leaves it to others to create the Node object (registerNode).
	NoRegister bool
	// NodeAttaches says that the node attaches volumes itself, instead of the
	// attach-detach controller (enableControllerAttachDetach).
	NodeAttaches bool
	// Cloud says that a cloud controller manager is in charge of addresses, and
	// lets pods come: --cloud-provider=external. It is told ProvidedIPs, those that
	// the user gave.
	Cloud       bool
	ProvidedIPs []netip.Addr
	Port        int32  // of the kubelet server
	Version     string // kubeletVersion, such as "v1.37.2"

	MaxPods, PodsPerCore         int32
	SystemReserved, KubeReserved map[string]string
	EvictionHard                 map[string]string // with its defaults
	NoLocalStorage               bool              // the node does not tell of its disk (localStorageCapacityIsolation)

	StatusEvery time.Duration // nodeStatusUpdateFrequency: how often to look; 0 is 10 s
	ReportEvery time.Duration // nodeStatusReportFrequency: how often to report though nothing changed; 0 is 5 min
	LeaseFor    time.Duration // nodeLeaseDurationSeconds; 0 is 40 s

	Machine Machine
	// OnNode is called from one goroutine with the Node object whenever it is
	// another one, and with nil when it is gone. It must not block or change the
	// object. May be nil.
	OnNode func(*v1.Node)
	// OnPodCIDRs is called when the node is given address ranges for pods, in
	// the way of OnNode. May be nil.
	OnPodCIDRs func([]string)
	// Event records an event of the node. It must not block. May be nil.
	Event func(kind, reason, message string)
	Log   *slog.Logger
}

// A Runtime is what the container runtime is up to.
type Runtime struct {
	Version string // "containerd://2.4.2"
	Err     error  // why it is down; nil if it is up
	Network error  // why pods get no network; nil if they do
	// Handlers and Features are what it can do; nil where it does not say.
	Handlers []v1.NodeRuntimeHandler
	Features *v1.NodeFeatures
}

func (r Runtime) same(other Runtime) bool {
	return r.Version == other.Version && fmt.Sprint(r.Err) == fmt.Sprint(other.Err) &&
		fmt.Sprint(r.Network) == fmt.Sprint(other.Network) &&
		equality.Semantic.DeepEqual(r.Handlers, other.Handlers) && equality.Semantic.DeepEqual(r.Features, other.Features)
}

// A Keeper keeps the Node object of this machine. Its methods may be called
// from any goroutine and never wait for the API.
type Keeper struct {
	o        Options
	reserved v1.ResourceList
	eviction []threshold
	poke     chan struct{} // capacity 1
	signs    signs         // what others have found out

	mu      sync.Mutex             // guards all below
	current *v1.Node               // as the API has it last; nil if it has none
	doubted bool                   // the watch says that it is gone
	runtime *Runtime               // nil until it was heard of
	devices v1.NodeStatus          // capacity and allocatable of plugins
	inUse   *[]v1.UniqueVolumeName // nil until it was heard of

	// Of the goroutine of Run:
	started  time.Time
	told     *v1.Node // what OnNode was called with last
	cidrs    []string // what OnPodCIDRs was called with last
	reported time.Time
	failing  time.Time // since when; zero if all is well
	lastErr  string
	exists   chan struct{} // closed at the first registration
}

// New returns a Keeper that does nothing before Run. It fails on quantities
// that are none.
func New(o Options) (*Keeper, error) {
	k := &Keeper{o: o, poke: make(chan struct{}, 1), exists: make(chan struct{})}
	k.o.Hostname = cmp.Or(o.Hostname, o.Name)
	k.o.StatusEvery = cmp.Or(o.StatusEvery, 10*time.Second)
	k.o.ReportEvery = cmp.Or(o.ReportEvery, 5*time.Minute)
	k.o.LeaseFor = cmp.Or(o.LeaseFor, 40*time.Second)
	if o.Event == nil {
		k.o.Event = func(string, string, string) {}
	}
	if o.OnNode == nil {
		k.o.OnNode = func(*v1.Node) {}
	}
	if o.OnPodCIDRs == nil {
		k.o.OnPodCIDRs = func([]string) {}
	}
	var err error
	if k.reserved, err = reservation(o.SystemReserved, o.KubeReserved); err != nil {
		return nil, err
	}
	k.eviction, err = thresholds(o.EvictionHard)
	return k, err
}

// reservation adds up what is set aside.
func reservation(lists ...map[string]string) (v1.ResourceList, error) {
	sum := v1.ResourceList{}
	for _, list := range lists {
		for name, text := range list {
			q, err := resource.ParseQuantity(text)
			if err != nil {
				return nil, fmt.Errorf("read reserved %s %q: %w", name, text, err)
			}
			total := sum[v1.ResourceName(name)]
			total.Add(q)
			sum[v1.ResourceName(name)] = total
		}
	}
	return sum, nil
}

// SetRuntime says what the container runtime is up to. The API is told at once.
func (k *Keeper) SetRuntime(r Runtime) {
	k.mu.Lock()
	changed := k.runtime == nil || !k.runtime.same(r)
	k.runtime = &r
	k.mu.Unlock()
	if changed {
		k.Poke()
	}
}

// Node returns the Node object as the API has it, nil if it has none. It is
// shared and must not be changed.
func (k *Keeper) Node() *v1.Node {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// Poke asks for a look. It never blocks.
func (k *Keeper) Poke() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

// Run keeps the Node object through client until ctx ends. It is called once.
func (k *Keeper) Run(ctx context.Context, client API) {
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { k.watch(ctx, client) })
	parts.Go(func() { k.renew(ctx, client) })
	k.started = time.Now()
	for ctx.Err() == nil {
		wait := k.step(ctx, client)
		select {
		case <-ctx.Done():
		case <-k.poke:
		case <-time.After(wait):
		}
	}
}

// The wait between tries grows with how long it has failed.
const (
	firstWait = 50 * time.Millisecond
	lastWait  = 2 * time.Second

	requestTimeout = 10 * time.Second
)

// step does what is to be done now and returns when to look again.
func (k *Keeper) step(ctx context.Context, client API) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := k.ensure(ctx, client.CoreV1().Nodes())
	if err == nil {
		k.tell()
		err = k.report(ctx, client.CoreV1().Nodes())
		k.tell()
	}
	if err == nil {
		k.failing, k.lastErr = time.Time{}, ""
		return k.o.StatusEvery
	}
	if err.Error() != k.lastErr && ctx.Err() == nil {
		k.lastErr = err.Error()
		k.o.Log.Warn("cannot keep node up to date", slog.Any("err", err))
	}
	if k.failing.IsZero() {
		k.failing = time.Now()
	}
	return min(firstWait+time.Since(k.failing)/3, lastWait)
}

// tell passes the Node object on if it is another one.
func (k *Keeper) tell() {
	n := k.Node()
	if n == k.told {
		return
	}
	k.told = n
	k.o.OnNode(n)
	if n != nil && len(n.Spec.PodCIDRs) > 0 && !slices.Equal(n.Spec.PodCIDRs, k.cidrs) {
		k.cidrs = n.Spec.PodCIDRs
		k.o.OnPodCIDRs(slices.Clone(k.cidrs))
	}
}

// seen takes over the Node object unless a newer one is known.
func (k *Keeper) seen(heard *v1.Node) {
	own := *heard // what is heard may be others' as well
	n := &own
	n.ManagedFields = nil // nobody here looks at it
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current != nil && k.current.UID == n.UID {
		if order, err := resourceversion.CompareResourceVersion(n.ResourceVersion, k.current.ResourceVersion); err == nil && order <= 0 {
			return
		}
	}
	k.current, k.doubted = n, false
	k.Poke()
}

// doubt asks the loop to find out whether the Node object is still there: the
// watch may speak of an older one.
func (k *Keeper) doubt() {
	k.mu.Lock()
	k.doubted = k.current != nil
	k.mu.Unlock()
	k.Poke()
}
