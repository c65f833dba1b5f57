package phases

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"boot.internal/atomicfile"
	"boot.internal/filelock"
)

// RolloutOptions say how static pods are replaced on this node.
type RolloutOptions struct {
	// Manifests is the directory that the loop reads: /etc/kubernetes/manifests.
	Manifests string
	// State is the directory of what boot keeps for itself; the manifests that
	// may have to come back are in "rollout" beneath it.
	State string
	// Identify returns the UID of the pod that the loop makes of a manifest in the
	// file at path. Its error says why the loop would refuse it: such a manifest
	// is never written.
	Identify func(manifest []byte, path string) (uid string, err error)

	Components Components    // looks at the control plane's containers
	Service    Service       // runs the kubelet loop
	LoopLog    LoopLog       // what the loop logs to
	Node       string        // name of this node
	Timeout    time.Duration // how long one pod may take to become healthy; 0: four minutes
	Stable     time.Duration // how long it has to stay so; 0: three seconds

	beside *asides // files that come back with the manifest; nil: none
}

// The defaults of RolloutOptions: kubeadm's patience with a component, and what it
// takes a process to trip over its first work.
const (
	rolloutTimeout = 4 * time.Minute
	rolloutStable  = 3 * time.Second
)

// A rollout replaces one static pod by what its next manifest says.
//
//	current            what the manifest directory has
//	  │  keep it aside, write the next
//	  ▼
//	awaited            the file aside says that this is so, whoever was killed
//	  │ healthy and stable        │ three exits, or time is up
//	  ▼                           ▼
//	replaced                    returned: what was aside is current again
type rollout struct {
	RolloutOptions
	component string
	next      func(current []byte) ([]byte, error)
}

// Rollout returns the phase that replaces the static pod of a component, such as
// "etcd", and waits until the engine runs the new one, its own probe says that it
// is well, and it has stayed so for a while. No API server is asked. A pod that
// does not get there is replaced by the one before, and the error says what was
// wrong with it.
//
// Next makes the manifest to be of the current one, and has to be idempotent. A
// component without a manifest on this node is none to replace, and next is not
// called. Phases of several components run one after another; see [RolloutTurn].
//
// A run that was killed is gone on with by running the phase again.
func Rollout(o RolloutOptions, component string, next func(current []byte) ([]byte, error)) Phase {
	o.Timeout = o.timeout()
	if o.Stable == 0 {
		o.Stable = rolloutStable
	}
	return rollout{o, component, next}
}

func (o RolloutOptions) timeout() time.Duration { return cmp.Or(o.Timeout, rolloutTimeout) }

// RolloutTurn waits until nobody else replaces static pods of this node: the loop
// does so, and commands do. Taking the turn is for whoever runs phases of
// [Rollout]; planning needs none. The caller releases it.
func RolloutTurn(ctx context.Context, state string) (*filelock.Lock, error) {
	dir := filepath.Join(state, "rollout")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	return filelock.Take(ctx, filepath.Join(dir, "lock"))
}

func (r rollout) path() string { return filepath.Join(r.Manifests, r.component+".yaml") }

// aside is where the manifest is kept that may have to come back.
func (r rollout) aside() string { return filepath.Join(r.State, "rollout", r.component+".yaml") }

// Plan implements Phase.
func (r rollout) Plan(context.Context) ([]Change, error) {
	current, err := os.ReadFile(r.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	next, err := r.next(current)
	if err != nil {
		return nil, err
	}
	aside, err := os.ReadFile(r.aside())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	await := Change{"wait for the new " + r.component, func(ctx context.Context) error { return r.settle(ctx, next) }}
	switch {
	case !bytes.Equal(current, next):
		return append(r.replace(current, next, aside != nil), await), nil
	case aside != nil:
		return []Change{await}, nil
	}
	return nil, nil
}

// replace returns the changes that put next in place. What is aside already is the
// last that is known to be good, and stays.
func (r rollout) replace(current, next []byte, kept bool) []Change {
	var changes []Change
	if !kept {
		changes = append(changes, Change{"keep the manifest of " + r.component + " in " + r.aside(), func(context.Context) error {
			return atomicfile.Write(r.aside(), current, 0o600)
		}})
	}
	return append(changes, Change{"rewrite " + r.path(), func(context.Context) error {
		if _, err := r.Identify(next, r.path()); err != nil {
			return errors.Join(fmt.Errorf("the loop would refuse it: %w", err), r.forget())
		}
		return atomicfile.Write(r.path(), next, 0o600)
	}})
}

// settle waits for next, or returns to what is aside.
func (r rollout) settle(ctx context.Context, next []byte) error {
	err := r.await(ctx, next)
	if err == nil {
		return r.forget()
	}
	if ctx.Err() != nil {
		return err // killed: nobody knows yet how it would have ended
	}
	return r.back(ctx, err)
}

// back puts the manifest that was replaced in place again, and waits for its pod.
func (r rollout) back(ctx context.Context, why error) error {
	old, err := os.ReadFile(r.aside())
	if err != nil {
		return errors.Join(why, fmt.Errorf("put the old manifest of %s back: %w", r.component, err))
	}
	waiting(ctx, "the old "+r.component+", which is put back")
	if err := errors.Join(r.beside.putBack(), atomicfile.Write(r.path(), old, 0o600)); err != nil {
		return errors.Join(why, err)
	}
	if err := r.await(ctx, old); err != nil {
		return errors.Join(why, fmt.Errorf("the old manifest of %s is back, but: %w", r.component, err))
	}
	return errors.Join(rolledBack(r.component, why), r.forget())
}

// A RolledBackError is a component that did not become healthy with its new
// manifest, and runs as before.
type RolledBackError struct {
	Component string
	Err       error // what was wrong with the new one
}

func rolledBack(component string, err error) error {
	return &RolledBackError{component, err}
}

// Error shows what was wrong, and that the damage is undone.
func (e *RolledBackError) Error() string {
	return e.Err.Error() + "\n" + e.Component + " runs with its old manifest again, and is healthy"
}

func (e *RolledBackError) Unwrap() error { return e.Err }

// forget removes the manifest that need not come back any more.
func (r rollout) forget() error {
	if err := ignoreMissing(os.Remove(r.aside())); err != nil {
		return err
	}
	return r.beside.forget()
}
