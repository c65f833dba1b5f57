package phases

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/atomicfile"
	"boot.internal/etcd"
	"boot.internal/templates"
)

// A seed is the data of etcd that is made of a snapshot, and put where a member
// keeps its own.
//
//	.restore/DIGEST.made     etcdutl writes it, in a pod of etcd's own image
//	      │  it has exited with 0
//	      ▼
//	.restore/DIGEST.ready    nothing but the names is left to change
//	      │  member is moved aside, ready/member takes its place
//	      ▼
//	member                   .restore/DIGEST.ready is empty, and tells that it is done
//
// All is in the data directory: that may be a disk of its own, between which and
// others nothing is renamed.
type seed struct {
	snapshot etcd.Snapshot // verified
	member   restoredMember
	rollout  RolloutOptions
	now      func() time.Time
}

// A restoredMember is the one that a cluster begins anew with.
type restoredMember struct {
	name, peerURL, dataDir, image string
}

// memberIn reads from the manifest of etcd who runs there.
func memberIn(pod *corev1.Pod) (restoredMember, error) {
	m := restoredMember{name: flagOf(pod, "name"), dataDir: volumePath(pod, etcdData)}
	if peers := splitURLs(flagOf(pod, "initial-advertise-peer-urls")); len(peers) > 0 {
		m.peerURL = peers[0]
	}
	if pod != nil && len(pod.Spec.Containers) > 0 {
		m.image = pod.Spec.Containers[0].Image
	}
	if m.name == "" || m.dataDir == "" || m.peerURL == "" || m.image == "" {
		return m, errors.New("the manifest of etcd does not say what its name is, where its data is, or where others reach it")
	}
	return m, nil
}

// restoreDirName is the directory within that of etcd's data.
const restoreDirName = ".restore"

// replacedPrefix begins the names of data that was restored over.
const replacedPrefix = "member-before-restore-"

func (s seed) dir() string { return filepath.Join(s.member.dataDir, restoreDirName) }

func (s seed) name(state string) string { return s.snapshot.Digest[:16] + "." + state }

func (s seed) made() string { return filepath.Join(s.dir(), s.name("made")) }

func (s seed) ready() string { return filepath.Join(s.dir(), s.name("ready")) }

func (s seed) manifest() string {
	return filepath.Join(s.rollout.Manifests, templates.EtcdRestoreName+".yaml")
}

// swapped says whether the data of the snapshot is where etcd has it.
func (s seed) swapped() bool { return exists(s.ready()) && !exists(filepath.Join(s.ready(), "member")) }

// make is the phase that makes the data. What runs is not disturbed by it.
func (s seed) make() Phase {
	return PlanFunc(func(context.Context) ([]Change, error) {
		if exists(s.ready()) {
			return nil, nil
		}
		return []Change{{fmt.Sprintf("make the data of etcd of the snapshot (revision %d) in %s", s.snapshot.Revision, s.dir()), s.run}}, nil
	})
}

// run has etcdutl make the data, whatever became of attempts before.
func (s seed) run(ctx context.Context) error {
	if err := s.clear(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir(), 0o700); err != nil {
		return err
	}
	m, err := templates.EtcdRestore(templates.EtcdRestoration{
		Image: s.member.image, Member: s.member.name, PeerURL: s.member.peerURL,
		// Each restore makes another cluster, even of the same snapshot.
		Token:    fmt.Sprintf("restored-%s-%d", s.snapshot.Digest[:16], s.now().UnixNano()),
		Snapshot: s.snapshot.Path, Dir: s.dir(), Out: s.name("made"), Bump: s.bump(ctx),
	})
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.manifest(), m.Data, 0o600); err != nil {
		return err
	}
	if err := s.await(ctx, m.Data); err != nil {
		return errors.Join(err, s.clear(context.WithoutCancel(ctx)))
	}
	if err := os.Rename(s.made(), s.ready()); err != nil {
		return err
	}
	return s.clear(ctx)
}

// revisionBump is by how much revisions rise above any that somebody may have seen:
// a billion changes, which takes a cluster with a thousand a second eleven days. It
// is what etcd's manual advises.
const revisionBump = 1_000_000_000

// bump is by how much the revisions of the snapshot have to rise, so that none is
// seen twice with another meaning: not with what was written since it was taken, nor
// with what was written since it was restored for the first time.
func (s seed) bump(ctx context.Context) int64 {
	return max(0, s.latest(ctx)-s.snapshot.Revision) + revisionBump
}

// latest is the last revision of the data that is to be replaced; 0 where there is
// none that can be read, and with it nobody who could have seen more.
func (s seed) latest(ctx context.Context) int64 {
	if c, err := EtcdCluster(EtcdOptions{Manifests: s.rollout.Manifests}); err == nil {
		defer func() { _ = c.Close() }()
		limited, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		if revision, err := c.Revision(limited); err == nil {
			return revision
		}
	}
	revision, err := etcd.DataRevision(s.member.dataDir)
	if err != nil {
		return 0
	}
	return revision
}

// clear removes the pod, and what it has not finished.
func (s seed) clear(ctx context.Context) error {
	if err := ignoreMissing(os.Remove(s.manifest())); err != nil {
		return err
	}
	if err := s.rollout.awaitGone(ctx, templates.EtcdRestoreName); err != nil {
		return err
	}
	return os.RemoveAll(s.made())
}

// await waits until the pod has ended well.
func (s seed) await(ctx context.Context, manifest []byte) error {
	uid, err := s.rollout.Identify(manifest, s.manifest())
	if err != nil {
		return fmt.Errorf("read %s: %w", s.manifest(), err)
	}
	waiting(ctx, templates.EtcdRestoreName)
	err = until(ctx, s.rollout.timeout(), func(ctx context.Context) (bool, error) {
		all, err := s.rollout.Components.Look(ctx)
		if err != nil {
			return false, err
		}
		for _, c := range all {
			if c.Pod != templates.EtcdRestoreName || c.PodUID != uid {
				continue
			}
			return c.State == ContainerExited, ended(c)
		}
		return false, errAbsent
	})
	if !errors.Is(err, errAbsent) {
		return err
	}
	if why := s.rollout.LoopLog.complaint(ctx, s.rollout.Node, templates.EtcdRestoreName); why != "" {
		return fmt.Errorf("%w: %s", err, why)
	}
	return err
}

// errAbsent reports a pod of which the engine has nothing.
var errAbsent = errors.New(templates.EtcdRestoreName + " has no container yet")

// ended is the error of a container that has not ended well, with what it said.
func ended(c Component) error {
	if c.State == ContainerExited && c.ExitCode == 0 {
		return nil
	}
	text := c.Pod + ": " + c.String()
	if tail := logTail(c.LogPath); len(tail) > 0 {
		text += "\n  " + strings.Join(tail, "\n  ")
	}
	return errors.New(text)
}

// swap is the phase that puts the data in place of what is there, which is kept.
// Etcd must not run.
func (s seed) swap() Phase {
	return PlanFunc(func(context.Context) ([]Change, error) {
		if s.swapped() {
			return nil, nil
		}
		member := filepath.Join(s.member.dataDir, "member")
		var changes []Change
		if exists(member) {
			aside := filepath.Join(s.member.dataDir, replacedPrefix+s.now().UTC().Format("20060102T150405Z"))
			changes = append(changes, Change{"keep " + member + " beside it, as " + replacedPrefix + "…", func(context.Context) error { return os.Rename(member, aside) }})
		}
		return append(changes, Change{"put the data of the snapshot in place of " + member, func(context.Context) error {
			return os.Rename(filepath.Join(s.ready(), "member"), member)
		}}), nil
	})
}

// tidy is the phase that removes what tells how far a restore has come. It is the
// last: from then on the same snapshot can be restored again.
func (s seed) tidy() Phase {
	return PlanFunc(func(context.Context) ([]Change, error) {
		if !exists(s.dir()) {
			return nil, nil
		}
		return []Change{{"remove " + s.dir(), func(context.Context) error { return os.RemoveAll(s.dir()) }}}, nil
	})
}

// awaitGone waits until the engine has nothing of some static pods any more.
func (o RolloutOptions) awaitGone(ctx context.Context, pods ...string) error {
	return until(ctx, o.timeout(), func(ctx context.Context) (bool, error) {
		all, err := o.Components.Look(ctx)
		if err != nil {
			return false, err
		}
		for _, c := range all {
			for _, name := range pods {
				if c.Pod == name {
					return false, fmt.Errorf("%s is still there: %s", name, c)
				}
			}
		}
		return true, nil
	})
}
