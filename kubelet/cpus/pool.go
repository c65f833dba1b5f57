// Package cpus gives CPUs of the machine to single containers, for these alone, and
// the rest to all others together (upstream's static CPU manager policy).
//
// It decides which containers get CPUs for themselves, and which CPUs, and remembers
// that on disk. That a container runs on its CPUs only, its caller sees to: by what
// Of returns when a container is made, and again whenever Changed is called. From
// which NUMA nodes CPUs are to come is decided in package numa, by the hints of all.
package cpus

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/cpuset"

	"boot.internal/kubelet/checksum"
	"boot.internal/kubelet/cpus/state"
	"boot.internal/kubelet/numa"
)

// Options are what a Pool is made of. All are required that do not say otherwise.
type Options struct {
	Dir     string // of the file cpu_manager_state: /var/lib/kubelet
	Machine *numa.Machine
	Policy  Policy
	// Reserved are CPUs that no container gets for itself. Where none are named, as
	// many are as Reserve says, rounded up.
	Reserved cpuset.CPUSet
	Reserve  resource.Quantity
	// Guaranteed reports whether a pod is of the class that may have CPUs for itself.
	Guaranteed func(p *v1.Pod) bool
	// Changed is called when other CPUs are shared than before. It must not block.
	Changed func()
	// Aligned is told whether CPUs that were asked for share what they should; it must
	// not call the Pool.
	Aligned func(boundary string, ok bool)
	Log     *slog.Logger
}

// A Pool has all CPUs of the machine. Its methods may be called from any goroutine.
type Pool struct {
	o     Options
	shape *shape
	// reserved are given to no container alone, nor, where whole cores are asked for,
	// the other threads of their cores.
	reserved, reservedCores cpuset.CPUSet
	figures                 figures

	mu     sync.Mutex // guards what follows
	shared cpuset.CPUSet
	given  map[types.UID]map[string]cpuset.CPUSet // by container; init containers pass theirs on
}

// New returns a pool that knows what was given by an earlier process. It is an error
// if that cannot be gone on with.
func New(o Options) (*Pool, error) {
	p := &Pool{o: o, shape: shapeOf(o.Machine), figures: newFigures(), given: map[types.UID]map[string]cpuset.CPUSet{}}
	if err := o.Policy.fits(p.shape); err != nil {
		return nil, err
	}
	if err := p.reserve(); err != nil {
		return nil, err
	}
	s, err := state.Load(p.file(), Static)
	if err != nil {
		return nil, err
	}
	if s == nil || s.Shared.IsEmpty() && len(s.Given) == 0 {
		p.shared = p.usable()
		return p, p.store()
	}
	if err := p.adopt(s); err != nil {
		return nil, checksum.Refuse(p.file(), err)
	}
	return p, nil
}

// Static is the name of the policy.
const Static = "static"

// CheckUnused returns an error where CPUs were given to containers by a process with
// the static policy, and there is another now.
func CheckUnused(dir, policy string) error {
	_, err := state.Load(filepath.Join(dir, state.File), policy)
	return err
}

func (p *Pool) file() string { return filepath.Join(p.o.Dir, state.File) }

// reserve chooses which CPUs are reserved. There has to be one at least, else all
// could be given away.
func (p *Pool) reserve() error {
	n := int(math.Ceil(float64(p.o.Reserve.MilliValue()) / 1000))
	p.reserved = p.o.Reserved
	if p.reserved.IsEmpty() {
		if n == 0 {
			return errors.New("the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero")
		}
		p.reserved, _ = p.take(p.shape.all, n) // what is missing is seen below
		if p.reserved.Size() != n {
			return fmt.Errorf("unable to reserve the required amount of CPUs (size of %s did not equal %d)", p.reserved, n)
		}
	}
	p.reservedCores = p.shape.siblings(p.reserved)
	return CheckReserved(p.reserved, p.o.Machine)
}

// CheckReserved returns an error if CPUs are reserved that the machine does not have.
func CheckReserved(named cpuset.CPUSet, m *numa.Machine) error {
	if online := shapeOf(m).all; !named.IsSubsetOf(online) {
		return fmt.Errorf("reserved-cpus: %s is not a subset of online-cpus: %s", named, online)
	}
	return nil
}

// usable returns the CPUs that containers may run on.
func (p *Pool) usable() cpuset.CPUSet {
	if p.o.Policy.Strict {
		return p.shape.all.Difference(p.reserved)
	}
	return p.shape.all
}

// adopt takes over what an earlier process gave, if it fits the machine and the
// configuration of now. Errors are in upstream's words.
func (p *Pool) adopt(s *state.State) error {
	if s.Shared.IsEmpty() {
		return errors.New("default cpuset cannot be empty")
	}
	switch of := p.reserved.Intersection(s.Shared); {
	case p.o.Policy.Strict && !of.IsEmpty():
		return fmt.Errorf("some of strictly reserved cpus: %q are present in defaultCpuSet: %q", of, s.Shared)
	case !p.o.Policy.Strict && !of.Equals(p.reserved):
		return fmt.Errorf("not all reserved cpus: %q are present in defaultCpuSet: %q", p.reserved, s.Shared)
	}
	known := s.Shared
	for uid, containers := range s.Given {
		for name, cpus := range containers {
			if !cpus.Intersection(s.Shared).IsEmpty() {
				return fmt.Errorf("pod: %s, container: %s cpuset: %q overlaps with default cpuset %q", uid, name, cpus, s.Shared)
			}
			known = known.Union(cpus)
		}
	}
	if !known.Equals(p.usable()) {
		return fmt.Errorf("current set of available CPUs %q doesn't match with CPUs in state %q", p.usable(), known)
	}
	p.shared, p.given = s.Shared, s.Given
	return nil
}

// store writes what is given. mu must be held, or nobody else know the pool.
func (p *Pool) store() error {
	return state.Store(p.file(), state.State{Policy: Static, Shared: p.shared, Given: p.given})
}

// Of returns the CPUs that a container is to run on, in the format of the kernel, and
// whether it has them for itself.
func (p *Pool) Of(uid types.UID, container string) (cpus string, exclusive bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if own, ok := p.given[uid][container]; ok {
		return own.String(), !own.IsEmpty()
	}
	return p.shared.String(), false
}

// IDs returns the CPUs that a container has for itself; nil: none.
func (p *Pool) IDs(uid types.UID, container string) []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return numbers(p.given[uid][container])
}

// Allocatable returns the CPUs that containers can have for themselves.
func (p *Pool) Allocatable() []int64 { return numbers(p.shape.all.Difference(p.reserved)) }

func numbers(cpus cpuset.CPUSet) []int64 {
	var all []int64
	for _, c := range cpus.List() {
		all = append(all, int64(c))
	}
	return all
}

// HasAny reports whether a container of the pod has CPUs for itself.
func (p *Pool) HasAny(uid types.UID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.given[uid]) > 0
}

// Keep takes back the CPUs of all pods but these.
func (p *Pool) Keep(keep map[types.UID]bool) {
	p.takeBack(func(uid types.UID) bool { return !keep[uid] })
}

// Forget takes back the CPUs of a pod that is gone or over. It implements
// numa.Provider.
func (p *Pool) Forget(uid types.UID) {
	p.takeBack(func(is types.UID) bool { return is == uid })
}

func (p *Pool) takeBack(from func(types.UID) bool) {
	p.mu.Lock()
	changed := false
	for uid, containers := range p.given {
		if from(uid) {
			p.shared = p.shared.Union(slices.Collect(maps.Values(containers))...)
			delete(p.given, uid)
			changed = true
		}
	}
	if changed {
		p.save()
	}
	p.mu.Unlock()
	if changed {
		p.o.Changed()
	}
}

// save writes what is given, and logs where that cannot be. mu must be held.
func (p *Pool) save() {
	if err := p.store(); err != nil {
		p.o.Log.Error("a restart may give CPUs twice", slog.Any("err", err))
	}
}
