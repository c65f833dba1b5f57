// Package userns gives every pod that has users of its own a range of the
// node's user and group IDs (KEP-127). It decides which range, keeps it in the
// directory of the pod, where the upstream kubelet keeps it too, and knows after
// a restart which are taken. Mapping the IDs is left to the container runtime.
package userns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"boot.internal/atomicfile"
	"boot.internal/kubelet/pod"
)

// unit is what the length of every range is a multiple of.
const unit = 65536

// file is in the directory of a pod that has a range.
const file = "userns"

// Options say which IDs there are.
type Options struct {
	PodsDir string // one directory for each pod UID
	// IDsPerPod is how many IDs each pod gets, a multiple of 65536 below 1<<32; 0
	// is 65536.
	IDsPerPod int64
	// MaxPods is how many pods there must be IDs for.
	MaxPods int64
	// Subordinate returns the IDs that the node's administrator set aside for
	// pods, or 0, 0 for all of them; nil asks getsubids for those of the user
	// "kubelet".
	Subordinate func() (first, count uint32, err error)
}

// Ranges are those of the node. Its methods may be called from several
// goroutines.
type Ranges struct {
	o Options

	mu           sync.Mutex // guards what follows
	ready        bool
	length       uint32 // of each range
	first, slots uint32 // all ranges: where they begin, and how many there are
	taken        map[types.UID]uint32
}

// New returns the ranges of the node. It looks for none before the first pod
// asks: what is wrong with them concerns no other pods.
func New(o Options) *Ranges {
	if o.IDsPerPod == 0 {
		o.IDsPerPod = unit
	}
	if o.Subordinate == nil {
		o.Subordinate = subordinate
	}
	return &Ranges{o: o, taken: map[types.UID]uint32{}}
}

// Of returns the range of a pod, which stays the same until Release.
func (r *Ranges) Of(uid types.UID) (pod.IDRange, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.prepare(); err != nil {
		return pod.IDRange{}, fmt.Errorf("user namespace: %w", err)
	}
	if first, ok := r.taken[uid]; ok {
		return pod.IDRange{First: first, Count: r.length}, nil
	}
	given, err := r.free()
	if err != nil {
		return pod.IDRange{}, fmt.Errorf("create user namespace: %w", err)
	}
	if err := r.write(uid, given); err != nil {
		return pod.IDRange{}, fmt.Errorf("create user namespace: %w", err)
	}
	r.taken[uid] = given.First
	return given, nil
}

// Release frees the range of a pod that is gone.
func (r *Ranges) Release(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.taken, uid)
}

// Reap frees the ranges of pods whose directories were removed.
func (r *Ranges) Reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for uid := range r.taken {
		if _, err := os.Stat(r.path(uid)); errors.Is(err, fs.ErrNotExist) {
			delete(r.taken, uid)
		}
	}
}

// prepare finds out which ranges there are, and which are taken, until that
// went well once.
func (r *Ranges) prepare() error {
	if r.ready {
		return nil
	}
	if n := r.o.IDsPerPod; n < 0 || n >= 1<<32 || n%unit != 0 {
		return fmt.Errorf("kubelet user namespace length %d is not a multiple of %d below 1<<32", n, unit)
	}
	first, count, err := r.o.Subordinate()
	if err != nil {
		return err
	}
	length := uint32(r.o.IDsPerPod)
	if first == 0 && count == 0 {
		first, count = length, -length // to the last of all
	}
	switch {
	case first%length != 0:
		return fmt.Errorf("kubelet user assigned ID %d is not a multiple of %d", first, length)
	case first < length: // root of a pod would be root of the node
		return fmt.Errorf("kubelet user assigned ID %d must be greater or equal to %d", first, length)
	case count%length != 0:
		return fmt.Errorf("kubelet user assigned IDs length %d is not a multiple of %d", count, length)
	case int64(count/length) < r.o.MaxPods:
		return fmt.Errorf("kubelet user assigned IDs are not enough to support %d pods", r.o.MaxPods)
	}
	r.length, r.first, r.slots = length, first, count/length
	if err := r.restore(); err != nil {
		return err
	}
	r.ready = true
	return nil
}

// restore finds the ranges of pods that are on the node already.
func (r *Ranges) restore() error {
	entries, err := os.ReadDir(r.o.PodsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read pods from disk: %w", err)
	}
	for _, e := range entries {
		uid := types.UID(e.Name())
		given, err := r.read(uid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
			continue
		}
		if err != nil {
			return fmt.Errorf("record pod mappings for existing pod %q: %w", uid, err)
		}
		if other, ok := r.owner(given.First); ok && other != uid {
			return fmt.Errorf("range picked for pod %q already taken", uid)
		}
		r.taken[uid] = given.First
	}
	return nil
}

func (r *Ranges) owner(first uint32) (types.UID, bool) {
	for uid, at := range r.taken {
		if at == first {
			return uid, true
		}
	}
	return "", false
}

// free returns the first range that no pod has.
func (r *Ranges) free() (pod.IDRange, error) {
	used := make([]uint32, 0, len(r.taken))
	for _, first := range r.taken {
		used = append(used, (first-r.first)/r.length)
	}
	slices.Sort(used)
	slot := uint32(0)
	for _, u := range used {
		if u != slot {
			break
		}
		slot++
	}
	if slot >= r.slots {
		return pod.IDRange{}, errors.New("could not find an empty slot to allocate a user namespace")
	}
	return pod.IDRange{First: r.first + slot*r.length, Count: r.length}, nil
}

// mappings is how a range is kept, as upstream keeps it.
type mappings struct {
	UIDs []mapping `json:"uidMappings"`
	GIDs []mapping `json:"gidMappings"`
}

type mapping struct {
	Host      uint32 `json:"hostId"`
	Container uint32 `json:"containerId"`
	Length    uint32 `json:"length"`
}

func (r *Ranges) path(uid types.UID) string { return filepath.Join(r.o.PodsDir, string(uid), file) }

func (r *Ranges) write(uid types.UID, given pod.IDRange) error {
	all := []mapping{{Host: given.First, Length: given.Count}}
	data, err := json.Marshal(mappings{all, all})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.path(uid)), 0o750); err != nil {
		return err
	}
	return atomicfile.Write(r.path(uid), data, 0o600)
}

var errNotDir = errors.New("not a directory")

// read returns the range a pod was given before. Any that is not one of those
// there are is an error: the pod runs with it, and another could come to share
// its users.
func (r *Ranges) read(uid types.UID) (pod.IDRange, error) {
	if fi, err := os.Stat(filepath.Dir(r.path(uid))); err != nil || !fi.IsDir() {
		return pod.IDRange{}, errNotDir
	}
	data, err := os.ReadFile(r.path(uid))
	if err != nil {
		return pod.IDRange{}, err
	}
	var m mappings
	if err := json.Unmarshal(data, &m); err != nil {
		return pod.IDRange{}, fmt.Errorf("invalid user namespace mappings file: %w", err)
	}
	if len(m.UIDs) != 1 || !slices.Equal(m.UIDs, m.GIDs) || m.UIDs[0].Container != 0 {
		return pod.IDRange{}, errors.New("invalid user namespace configuration: there must be one mapping, from 0, for both users and groups")
	}
	first, length := m.UIDs[0].Host, m.UIDs[0].Length
	switch {
	case length != r.length:
		return pod.IDRange{}, fmt.Errorf("wrong user namespace length %d", length)
	case first%length != 0:
		return pod.IDRange{}, fmt.Errorf("wrong user namespace offset specified %d", first)
	case first < r.first || (first-r.first)/length >= r.slots:
		return pod.IDRange{}, fmt.Errorf("id %d is out of range", first)
	}
	return pod.IDRange{First: first, Count: length}, nil
}
