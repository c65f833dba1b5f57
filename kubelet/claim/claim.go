// Package claim has drivers prepare the devices that pods claim: Dynamic Resource
// Allocation (KEP-4381), with the extended resources that it backs (KEP-5004), the
// health of its devices (KEP-4680) and what agents are told of it (KEP-3695).
//
// Which devices a claim gets was decided by the scheduler. This package decides
// when a driver of the node is called to prepare a claim and when to take it back,
// and remembers on disk what is prepared, so that a restart of boot takes nothing
// away and leaves nothing behind. It says which devices a container is given, and
// leaves giving them to the container engine, by their names of CDI.
//
// Reading order: claim.go (what is remembered), prepare.go and unprepare.go (the
// life of a claim on the node), driver.go, call.go and wipe.go (who prepares),
// asked.go, equip.go and health.go (what containers get, and what is told of it).
package claim

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"boot.internal/kubelet/claim/checkpoint"
)

// Options are what a Keeper is made of. All are required that do not say otherwise.
type Options struct {
	Dir  string // of the files that remember: /var/lib/kubelet
	Node string // the name of this node
	// Client returns a client of the API, nil while there is none.
	Client func() kubernetes.Interface
	// Arrived is called when a driver can be asked that could not be before: what
	// failed for want of it may go well now. It must not block.
	Arrived func()
	// Changed is told of pods whose devices may be in another state. It must not
	// block.
	Changed func(pods []types.UID)
	// Away is how long a driver may be away before the scheduler is told that its
	// devices are not to be had; 0 is upstream's 30 s.
	Away time.Duration
	Log  *slog.Logger
}

// away is long enough for the program of a driver to be replaced by another.
const away = 30 * time.Second

// A Keeper knows which claims are prepared on this node, and the drivers that do
// so. Its methods may be called from any goroutine.
type Keeper struct {
	o       Options
	life    context.Context // of what goes on beside the calls
	drivers drivers
	health  health
	figures *figures

	mu     sync.Mutex // guards what follows
	claims map[types.NamespacedName]*claim
	lost   error              // why it is not known what is prepared
	late   map[types.UID]bool // pods that are gone, and what was prepared for them is not
	going  bool               // something is done about that
}

// A claim is what is known of one ResourceClaim.
//
//	        Prepare, by the first pod          all drivers did
//	none ──────────────────────────► noted ──────────────────────► prepared
//	  ▲                                │                              │
//	  └────── all drivers did ── unpreparing ◄── Unprepare, of the last pod
//
// After a restart of boot nobody knows how far drivers had come, so a claim is
// noted: preparing one twice does no harm.
type claim struct {
	checkpoint.Claim
	prepared    bool
	unpreparing bool // no pod may begin to use it
}

func (c *claim) key() types.NamespacedName {
	return types.NamespacedName{Namespace: c.Namespace, Name: c.ClaimName}
}

// New returns a Keeper that goes on from what an earlier process prepared. What it
// does beside being called ends with ctx.
func New(ctx context.Context, o Options) *Keeper {
	o.Away = cmp.Or(o.Away, away)
	k := &Keeper{o: o, life: ctx, figures: newFigures(), claims: map[types.NamespacedName]*claim{}, late: map[types.UID]bool{}}
	k.lost = k.load()
	if k.lost != nil {
		o.Log.LogAttrs(ctx, slog.LevelError, "pods that claim devices cannot start", slog.Any("err", k.lost))
	}
	k.loadHealth(ctx)
	context.AfterFunc(ctx, k.hangUp)
	return k
}

func (k *Keeper) file() string { return filepath.Join(k.o.Dir, "dra_manager_state") }

// load reads what is prepared.
func (k *Keeper) load() error {
	all, err := checkpoint.Load(k.file())
	if err != nil {
		return err
	}
	for _, one := range all {
		c := &claim{Claim: one}
		k.claims[c.key()] = c
	}
	return nil
}

// known returns why it is not known what is prepared, if so: then nothing may be,
// for another pod may have it. Removing the file mends that. mu must be held.
func (k *Keeper) known() error {
	if k.lost != nil {
		k.lost = k.load()
	}
	if k.lost != nil {
		return fmt.Errorf("%w (drain the node and remove the file)", k.lost)
	}
	return nil
}

// save writes what is prepared. mu must be held.
func (k *Keeper) save() error {
	all := make([]checkpoint.Claim, 0, len(k.claims))
	for _, c := range k.claims {
		all = append(all, c.Claim)
	}
	slices.SortFunc(all, func(a, b checkpoint.Claim) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.ClaimName, b.ClaimName))
	})
	if err := checkpoint.Store(k.file(), all); err != nil {
		return fmt.Errorf("checkpoint ResourceClaim state: %w", err)
	}
	return nil
}

// Holds reports whether something is prepared for a pod, or may be.
func (k *Keeper) Holds(pod types.UID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.claims {
		if c.PodUIDs.Has(string(pod)) {
			return true
		}
	}
	return false
}

// podsOf returns the pods for which a driver prepared something.
func (k *Keeper) podsOf(driver string) []types.UID {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[types.UID]bool{}
	for _, c := range k.claims {
		if _, ok := c.DriverState[driver]; ok {
			for uid := range c.PodUIDs {
				all[types.UID(uid)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Needs reports whether a pod claims devices.
func Needs(p *v1.Pod) bool {
	return len(p.Spec.ResourceClaims) > 0 || p.Status.ExtendedResourceClaimStatus != nil
}
