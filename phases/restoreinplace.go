package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"boot.internal/hint"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"

	"boot.internal/atomicfile"
	"boot.internal/config"
	"boot.internal/etcd"
)

// ErrOthers reports members of etcd that do not go back in time with this node's.
var ErrOthers = errors.New("etcd has other members")

// EtcdRestoreOptions are the values the phases of "boot etcd snapshot restore" are
// built with.
type EtcdRestoreOptions struct {
	// Snapshot is the one to go back to, as [etcd.ReadSnapshot] has verified it.
	Snapshot etcd.Snapshot
	// Rollout says how static pods are looked at and waited for.
	Rollout RolloutOptions
	// NewCluster lets this node go back alone where etcd has other members, which
	// are taken out of it.
	NewCluster bool
}

// An inPlace takes the control plane of this node back to a snapshot. Its manifests
// wait in a directory of boot's meanwhile; everything else tells by itself how far
// a run has come, see [seed].
type inPlace struct {
	EtcdRestoreOptions
	seed
}

// EtcdRestore returns the phases that take this node's etcd, and all that uses it,
// back to a snapshot: as a cluster of one member. The data is made before anything
// is stopped, and the data that was there is kept. Killed anywhere, the same phases
// go on.
func EtcdRestore(o EtcdRestoreOptions) ([]Step, error) {
	r := inPlace{EtcdRestoreOptions: o}
	manifest, err := r.etcdManifest()
	if err != nil {
		return nil, err
	}
	pod, err := readPod(manifest)
	if err != nil {
		return nil, err
	}
	member, err := memberIn(pod)
	if err != nil {
		return nil, err
	}
	r.seed = seed{o.Snapshot, member, o.Rollout, time.Now}
	return []Step{
		{"preflight", "Check that this node can go back to the snapshot", PlanFunc(r.preflight)},
		{"restore/data", "Make the data of etcd of the snapshot", r.make()},
		{"restore/leave", "Take the other members out of etcd", PlanFunc(r.leave)},
		{"restore/stop", "Stop the control plane of this node, etcd last", PlanFunc(r.stop)},
		{"restore/swap", "Put the data in place of what is there, which is kept", r.swap()},
		{"restore/start", "Start the control plane, etcd first", PlanFunc(r.start)},
		{"restore/tidy", "Remove what told how far the restore had come", r.tidy()},
	}, nil
}

// etcdManifest is where the manifest of etcd is, which a run that was killed may
// have put aside.
func (r inPlace) etcdManifest() (string, error) {
	for _, path := range []string{r.path(config.ComponentEtcd), r.asideOf(config.ComponentEtcd)} {
		if exists(path) {
			return path, nil
		}
	}
	return "", hint.With(errors.New("this node has no etcd"), "run this on a control-plane node; to make one of a backup, 'boot restore'")
}

func (r inPlace) path(component string) string {
	return filepath.Join(r.Rollout.Manifests, component+".yaml")
}

// asideOf is where the manifest of a component waits while it is stopped.
func (r inPlace) asideOf(component string) string {
	return filepath.Join(r.Rollout.State, "restore", "manifests", component+".yaml")
}

// preflight refuses what could not end well, before anything is changed.
func (r inPlace) preflight(ctx context.Context) ([]Change, error) {
	if exists(r.ready()) {
		return nil, nil // it was asked and begun
	}
	if running, err := r.Rollout.Service.Running(ctx); err != nil || !running {
		return nil, errors.Join(err, hint.With(errors.New("the kubelet loop does not run, which is to stop and start the control plane"), "start it: 'boot init' does so"))
	}
	if err := r.room(); err != nil {
		return nil, err
	}
	return nil, r.others(ctx)
}

// room wants space for the data beside what is there.
func (r inPlace) room() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(r.member.dataDir, &fs); err != nil {
		return fmt.Errorf("look for room in %s: %w", r.member.dataDir, err)
	}
	free, need := fs.Bavail*uint64(fs.Bsize), uint64(r.Snapshot.Size)+64<<20 //nolint:gosec // neither is negative
	if free < need {
		return hint.With(fmt.Errorf("%s has %d MiB free, and the data of the snapshot takes %d MiB", r.member.dataDir, free>>20, need>>20), "make room, and run this again")
	}
	return nil
}

// others refuses to leave members behind, unless that is wanted.
func (r inPlace) others(ctx context.Context) error {
	if r.NewCluster || !exists(r.path(config.ComponentEtcd)) {
		return nil // they are left behind; or an earlier restore, of another snapshot, has been that far
	}
	c, err := EtcdCluster(EtcdOptions{Manifests: r.Rollout.Manifests})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	members, err := c.MembersSeen(ctx)
	if err != nil {
		return r.unheard(ctx, err)
	}
	rest := slices.DeleteFunc(members, func(m etcd.Member) bool { return slices.Contains(m.PeerURLs, r.member.peerURL) })
	if len(rest) == 0 {
		return nil
	}
	return hint.With(fmt.Errorf("%w: %s; this node begins a new cluster alone, in which they have no part", ErrOthers, etcd.Names(rest)),
		"with --new-cluster they are taken out of etcd first; afterwards, have their nodes reset, and join this one again")
}

// unheard goes by the control planes that the snapshot knows where etcd does not tell
// its members: it may be what is to be mended, or others may go on without this one.
func (r inPlace) unheard(ctx context.Context, why error) error {
	known, err := OtherControlPlanes(r.Snapshot.Path, r.Rollout.Node)
	if err != nil {
		return hint.With(fmt.Errorf("etcd does not tell its members (%w), and whether the snapshot has other control planes cannot be read: %w", why, err),
			"start etcd, or have this node begin a new cluster alone, with --new-cluster")
	}
	if len(known) > 0 {
		return hint.With(fmt.Errorf("etcd does not tell its members (%w), and the snapshot has other control planes, which may go on without this node: %s", why, strings.Join(known, ", ")),
			"start etcd; or with --new-cluster, have this node begin a new cluster alone, and reset the others' nodes before they are connected again")
	}
	warn(ctx, fmt.Sprintf("etcd does not tell its members; if any have come since the snapshot, reset and join their nodes afterwards: %v", why))
	return nil
}

// stopOrderInPlace and its reverse are the order of going and coming.
func stopOrderInPlace() [][]string {
	return [][]string{{config.ComponentScheduler, config.ComponentControllerManager}, {config.ComponentAPIServer}, {config.ComponentEtcd}}
}

// stop moves the manifests aside, one group after another is gone.
func (r inPlace) stop(ctx context.Context) ([]Change, error) {
	if r.swapped() {
		return nil, nil
	}
	all, err := r.Rollout.Components.Look(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the containers: %w", err)
	}
	var changes []Change
	for _, group := range stopOrderInPlace() {
		runs := slices.ContainsFunc(all, func(c Component) bool { return slices.Contains(group, c.Pod) })
		there := slices.ContainsFunc(group, func(name string) bool { return exists(r.path(name)) })
		if runs || there {
			changes = append(changes, Change{"stop " + strings.Join(group, ", "), func(ctx context.Context) error { return r.stopGroup(ctx, group) }})
		}
	}
	return changes, nil
}

func (r inPlace) stopGroup(ctx context.Context, group []string) error {
	for _, name := range group {
		if err := move(r.path(name), r.asideOf(name)); err != nil {
			return err
		}
	}
	waiting(ctx, strings.Join(group, ", ")+" to stop")
	return r.Rollout.awaitGone(ctx, group...)
}

// move has a file in another place, on another disk maybe. What is not there is
// moved already.
func move(from, to string) error {
	data, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = atomicfile.Write(to, data, 0o600)
	}
	if err != nil {
		return err
	}
	return os.Remove(from)
}

// start moves the manifests back, one group after another is healthy.
func (r inPlace) start(context.Context) ([]Change, error) {
	var changes []Change
	for _, group := range slices.Backward(stopOrderInPlace()) {
		if slices.ContainsFunc(group, func(name string) bool { return exists(r.asideOf(name)) }) {
			changes = append(changes, Change{"start " + strings.Join(group, ", "), func(ctx context.Context) error { return r.startGroup(ctx, group) }})
		}
	}
	return changes, nil
}

// startGroup starts all of a group before it waits for any. The manifests stay aside
// until their pods are healthy: that is how the next run knows whom to wait for.
func (r inPlace) startGroup(ctx context.Context, group []string) error {
	left := slices.DeleteFunc(slices.Clone(group), func(name string) bool { return !exists(r.asideOf(name)) })
	for _, name := range left {
		if err := r.putBack(name); err != nil {
			return err
		}
	}
	for _, name := range left {
		if err := r.awaitBack(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// putBack has the loop start a component again.
func (r inPlace) putBack(name string) error {
	data, err := os.ReadFile(r.asideOf(name))
	if name == config.ComponentEtcd && err == nil {
		data, err = alone(data, r.member)
	}
	if err != nil {
		return err
	}
	return atomicfile.Write(r.path(name), data, 0o600)
}

// awaitBack waits until a component is healthy, and forgets that it was stopped.
func (r inPlace) awaitBack(ctx context.Context, name string) error {
	data, err := os.ReadFile(r.path(name))
	if err != nil {
		return err
	}
	wait := rollout{RolloutOptions: r.Rollout, component: name}
	wait.Timeout, wait.Stable = r.Rollout.timeout(), time.Second
	if err := wait.await(ctx, data); err != nil {
		return err
	}
	return os.Remove(r.asideOf(name))
}

// alone changes the manifest of an etcd that had others to begin with: it is the
// only member now. One that never had stays as it is, to the byte.
func alone(manifest []byte, m restoredMember) ([]byte, error) {
	var pod map[string]any
	if err := yaml.Unmarshal(manifest, &pod); err != nil {
		return nil, fmt.Errorf("read the manifest of etcd: %w", err)
	}
	const flag = "--initial-cluster="
	want := flag + m.name + "=" + m.peerURL
	changed := false
	for _, list := range argumentsOf(pod) {
		for i, arg := range list {
			if text, ok := arg.(string); ok && strings.HasPrefix(text, flag) && text != want {
				list[i], changed = want, true
			}
		}
	}
	if !changed {
		return manifest, nil
	}
	return yaml.Marshal(pod)
}

// argumentsOf returns command and args of the first container of a pod.
func argumentsOf(pod map[string]any) [][]any {
	spec, _ := pod["spec"].(map[string]any)
	containers, _ := spec["containers"].([]any)
	if len(containers) == 0 {
		return nil
	}
	first, _ := containers[0].(map[string]any)
	command, _ := first["command"].([]any)
	args, _ := first["args"].([]any)
	return [][]any{command, args}
}
