package etcd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Status is how a member is, by its own account.
type Status struct {
	Member
	Err     error  // why it is not well; nil if it is
	Leader  bool   // it leads the others
	Version string // "3.7.3"
	DBSize  int64  // bytes on disk
	Applied uint64 // index of the last change of the cluster's that it has

	DBInUse int64    // of DBSize: the rest is what Defragment gives back
	Index   uint64   // of the last change that it knows of, applied or not
	Term    uint64   // how often a leader was elected
	Alarms  []string // that it has raised: "NOSPACE", "CORRUPT"
}

var (
	errNotStarted = errors.New("it has not started yet")
	errNoLeader   = errors.New("it has no leader")
)

// Statuses asks all of the members at once, and returns as many statuses in the
// same order, after five seconds at the latest.
func (c *Cluster) Statuses(ctx context.Context, members []Member) []Status {
	all := make([]Status, len(members))
	var group sync.WaitGroup
	for i, m := range members {
		group.Go(func() { all[i] = c.status(ctx, m) })
	}
	group.Wait()
	return all
}

// status asks the member itself, at all its addresses at once.
func (c *Cluster) status(ctx context.Context, m Member) Status {
	if len(m.ClientURLs) == 0 {
		return Status{Member: m, Err: errNotStarted}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answers := make(chan Status, len(m.ClientURLs))
	for _, u := range m.ClientURLs {
		go func() { answers <- c.statusAt(ctx, m, u) }()
	}
	var last Status
	for range m.ClientURLs {
		if last = <-answers; last.Err == nil {
			break
		}
	}
	return last
}

func (c *Cluster) statusAt(ctx context.Context, m Member, endpoint string) Status {
	s := Status{Member: m}
	s.Err = c.askOne(ctx, endpoint, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Status(ctx, endpoint)
		if err != nil {
			return err
		}
		s.Leader, s.Version, s.DBSize, s.Applied = r.Leader == m.ID, r.Version, r.DbSize, r.RaftAppliedIndex
		s.DBInUse, s.Index, s.Term = r.DbSizeInUse, r.RaftIndex, r.RaftTerm
		s.Alarms = alarms(r.Errors)
		switch {
		case r.Header.MemberId != m.ID:
			return errors.New("another member answers in its place")
		case r.Leader == 0:
			return errNoLeader
		case len(r.Errors) > 0:
			return errors.New(r.Errors[0])
		}
		return nil
	})
	return s
}

// alarms picks them out of what a member complains of: "memberID:1 alarm:NOSPACE ".
func alarms(complaints []string) []string {
	var all []string
	for _, c := range complaints {
		if _, alarm, ok := strings.Cut(c, "alarm:"); ok {
			all = append(all, strings.TrimSpace(alarm))
		}
	}
	return all
}

// voters are those that have a say.
func voters(all []Status) []Status {
	return slices.DeleteFunc(slices.Clone(all), func(s Status) bool { return s.Learner })
}

// well counts those without an error.
func well(all []Status) (n int) {
	for _, s := range all {
		if s.Err == nil {
			n++
		}
	}
	return n
}
