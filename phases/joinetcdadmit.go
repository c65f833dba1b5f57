package phases

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"boot.internal/atomicfile"
	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/hint"
)

const (
	// orphanPatience is how long a learner of somebody else's, who does not take
	// turns with boot, has to get its vote.
	orphanPatience = 30 * time.Second
	// leaveTimeout is how long a join that failed tries to remove its learner.
	leaveTimeout = 30 * time.Second
)

// An etcdJoin is a joinEtcd whose turn it is.
type etcdJoin struct {
	joinEtcd
	c *etcd.Cluster
}

// admit makes this node a member, as which it can start: its own of an attempt
// that was killed, or a new learner.
func (j etcdJoin) admit(ctx context.Context) (etcd.Member, error) {
	members, err := j.c.Members(ctx)
	if err != nil {
		return etcd.Member{}, err
	}
	if err := j.unique(members); err != nil {
		return etcd.Member{}, err
	}
	me, is := etcd.At(members, j.peerURL())
	if is, err = j.fitting(ctx, me, is); err != nil || is {
		return me, err
	}
	if err := j.orphans(ctx); err != nil {
		return etcd.Member{}, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, j.timeout(), fmt.Errorf("gave up after %s", j.timeout()))
	defer cancel()
	me, err = j.c.AddLearner(limited, j.peerURL())
	if err != nil {
		return me, hint.With(err, "etcd takes a new member only while the others are well: 'boot etcd members' on a control plane shows how they are")
	}
	return me, nil
}

// unique refuses a name that another member has: by their names, members are told
// whom to start with.
func (j etcdJoin) unique(members []etcd.Member) error {
	for _, m := range j.others(members) {
		if m.Name == j.name() {
			return hint.With(fmt.Errorf("etcd has another member called %s, at %s", m, strings.Join(m.PeerURLs, ", ")),
				"if that was this node under another address, remove it on a control plane: boot etcd remove "+m.HexID())
		}
	}
	return nil
}

// fitting brings together the member the others know and the data that is here. A
// member whose data is gone can not go on, and neither can data without its member.
// It says whether there is still a member to start.
func (j etcdJoin) fitting(ctx context.Context, me etcd.Member, is bool) (bool, error) {
	id, noted, err := j.note().read()
	if err != nil {
		return false, err
	}
	data := j.hasData()
	ours := noted && data && (!is || id != me.ID)
	switch {
	case ours: // of a learner of this join's that the others have removed since
		return is, j.wipe(ctx)
	case data && !is, data && !noted && !me.Started():
		return false, hint.With(fmt.Errorf("%s holds the data of another etcd", j.dataDir()), "run 'boot reset' to begin anew, or move it away")
	case is && !data && me.Started():
		return false, j.removed(ctx, me)
	}
	return is, nil
}

func (j etcdJoin) removed(ctx context.Context, m etcd.Member) error {
	limited, cancel := context.WithTimeoutCause(ctx, j.timeout(), fmt.Errorf("gave up after %s", j.timeout()))
	defer cancel()
	return j.c.Remove(limited, m.ID)
}

func (p joinEtcd) dataDir() string { return p.cfg.Cluster.Etcd.Local.DataDir }

func (p joinEtcd) hasData() bool { return exists(filepath.Join(p.dataDir(), "member")) }

// wipe removes data that nobody will miss: of a learner that never had a vote.
func (j etcdJoin) wipe(ctx context.Context) error {
	if err := ignoreMissing(os.Remove(j.manifest())); err != nil {
		return err
	}
	waiting(ctx, "the etcd of an earlier attempt to stop")
	timeout := limit(j.cfg.Init.Timeouts.ControlPlaneComponentHealthCheck)
	err := until(ctx, timeout, func(ctx context.Context) (bool, error) {
		all, err := j.components.Look(ctx)
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(all, func(c Component) bool { return c.Pod == config.ComponentEtcd })
		if i < 0 {
			return true, nil
		}
		return false, errors.New(all[i].String())
	})
	if err != nil {
		return fmt.Errorf("stop the etcd of an earlier attempt: %w", err)
	}
	return os.RemoveAll(filepath.Join(j.dataDir(), "member"))
}

// orphans makes room for a learner: etcd has only one at a time. It is this node's
// turn, so one that is there was left behind by a join that is dead; only a join
// that knows of no turns may still be at it.
func (j etcdJoin) orphans(ctx context.Context) error {
	left, err := j.learners(ctx)
	if err != nil || len(left) == 0 {
		return err
	}
	waiting(ctx, "the learner "+etcd.Names(left)+" to get its vote")
	err = until(ctx, j.patience, func(ctx context.Context) (bool, error) {
		now, err := j.learners(ctx)
		if err != nil {
			return false, err
		}
		left = now
		return len(left) == 0, errors.New("it has no vote yet")
	})
	if ctx.Err() != nil {
		return err
	}
	for _, m := range left {
		warn(ctx, fmt.Sprintf("the learner %s at %s was left behind by a join that ended; it is removed", m, strings.Join(m.PeerURLs, ", ")))
		if err := j.removed(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// learners are those of other nodes.
func (j etcdJoin) learners(ctx context.Context) ([]etcd.Member, error) {
	members, err := j.c.Members(ctx)
	return slices.DeleteFunc(j.others(members), func(m etcd.Member) bool { return !m.Learner }), err
}

// leave takes the learner of a join that failed out of the cluster, with its
// manifest: it would only be refused by the others. Its data goes when the join is
// run again, or with a reset.
func (j etcdJoin) leave(ctx context.Context, me etcd.Member) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	members, err := j.c.Members(ctx)
	if err != nil {
		return fmt.Errorf("look whether the learner %s is to be removed: %w", me, err)
	}
	if now, is := etcd.At(members, j.peerURL()); !is || !now.Learner {
		return nil
	}
	if err := ignoreMissing(os.Remove(j.manifest())); err != nil {
		return err
	}
	if err := j.c.Remove(ctx, me.ID); err != nil {
		return hint.With(err, "on a control plane: boot etcd remove "+me.HexID())
	}
	return nil
}

// A joinNote is a file that says as which member the data of etcd on this node was
// begun, until that has a vote.
type joinNote string

func (p joinEtcd) note() joinNote { return joinNote(filepath.Join(p.dir, "etcd-join")) }

func (n joinNote) there() bool { return exists(string(n)) }

func (n joinNote) write(id uint64) error {
	return atomicfile.Write(string(n), []byte(strconv.FormatUint(id, 16)+"\n"), 0o600)
}

func (n joinNote) read() (id uint64, there bool, err error) {
	data, err := os.ReadFile(string(n))
	if err != nil {
		return 0, false, ignoreMissing(err)
	}
	id, err = strconv.ParseUint(strings.TrimSpace(string(data)), 16, 64)
	if err != nil {
		return 0, false, hint.With(fmt.Errorf("read %s: %w", string(n), err), "remove the file, and the data of etcd on this node if it has not joined")
	}
	return id, true, nil
}

func (n joinNote) remove() error { return ignoreMissing(os.Remove(string(n))) }
