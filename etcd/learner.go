package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// AddLearner makes the etcd that others will reach at peerURL a member without a
// vote, unless it is a member, and returns it. While the cluster is too busy with
// another change, which passes, it tries again until ctx ends.
func (c *Cluster) AddLearner(ctx context.Context, peerURL string) (Member, error) {
	var added Member
	err := until(ctx, func(ctx context.Context) (bool, error) {
		members, err := c.Members(ctx)
		if err != nil {
			return false, err
		}
		var is bool
		if added, is = At(members, peerURL); is {
			return true, nil
		}
		err = c.add(ctx, peerURL)
		// That it is there is for the next look to say.
		return errors.Is(err, rpctypes.ErrMemberBadURLs), err
	})
	if err != nil {
		return Member{}, fmt.Errorf("add a learner at %s: %w", peerURL, err)
	}
	return added, nil
}

func (c *Cluster) add(ctx context.Context, peerURL string) error {
	return c.askAny(ctx, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.MemberAddAsLearner(ctx, []string{peerURL})
		return err
	})
}

// Waiting bounds a wait for something that makes progress.
type Waiting struct {
	// Stalled is how long there may be no progress at all.
	Stalled time.Duration
	// All is how long it may take in all.
	All time.Duration
	// Tell, if set, is told what is waited for, when that changes.
	Tell func(what string)
}

// Promote gives a learner its vote, once it has started and is in sync: etcd
// itself refuses before that. A member that has one is left as it is. It waits
// for as long as the learner makes progress, and its error names what the learner
// lacked last.
func (c *Cluster) Promote(ctx context.Context, id uint64, w Waiting) error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.All, fmt.Errorf("not in sync after %s", w.All))
	defer cancel()
	ctx, stalled := context.WithCancelCause(ctx)
	defer stalled(nil)
	timer := time.AfterFunc(w.Stalled, func() { stalled(fmt.Errorf("no progress for %s", w.Stalled)) })
	defer timer.Stop()

	p := promotion{Cluster: c, id: id, tell: w.Tell, progress: func() { timer.Reset(w.Stalled) }}
	if err := until(ctx, p.try); err != nil {
		return fmt.Errorf("promote the learner %x: %w", id, err)
	}
	return nil
}

// A promotion follows one learner until it has a vote.
type promotion struct {
	*Cluster
	id       uint64
	tell     func(string)
	progress func()

	told    string
	applied uint64
}

func (p *promotion) try(ctx context.Context) (done bool, err error) {
	members, err := p.Members(ctx)
	if err != nil {
		return false, err
	}
	m, is := byID(members, p.id)
	switch {
	case !is:
		return true, errors.New("it is no member any more")
	case !m.Learner:
		return true, nil
	case !m.Started():
		p.say("the learner to start")
		return false, errNotStarted
	}
	p.say("the learner to be in sync")
	s := p.status(ctx, m)
	if s.Applied > p.applied {
		p.applied = s.Applied
		p.progress()
	}
	err = p.askAny(ctx, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.MemberPromote(ctx, p.id)
		return err
	})
	if err != nil && s.Err != nil {
		err = fmt.Errorf("%w; the learner itself: %w", err, s.Err)
	}
	return false, err // that it has its vote is for the next look to say
}

// say tells what is waited for, once. A step to something else is progress.
func (p *promotion) say(what string) {
	if p.told == what {
		return
	}
	p.told = what
	p.progress()
	if p.tell != nil {
		p.tell(what)
	}
}

func byID(members []Member, id uint64) (Member, bool) {
	for _, m := range members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}
