package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"boot.internal/hint"
)

// ErrLast reports a member that has no others to leave.
var ErrLast = errors.New("it is the only member with a vote")

// ErrQuorum reports a removal after which the members that are left could not
// agree on anything.
var ErrQuorum = errors.New("the others would have no quorum without it")

// Removable says whether the member with the ID may go, given how all members
// are: a learner at any time, a voter as long as those that stay are a quorum
// among themselves. The error is ErrLast or wraps ErrQuorum.
func Removable(all []Status, id uint64) error {
	var rest []Status
	votes := false
	for _, s := range voters(all) {
		if s.ID == id {
			votes = true
		} else {
			rest = append(rest, s)
		}
	}
	quorum := len(rest)/2 + 1
	switch {
	case !votes:
		return nil
	case len(rest) == 0:
		return ErrLast
	case well(rest) < quorum:
		return hint.With(fmt.Errorf("%w: %d of %d that would be left are well, and it takes %d%s", ErrQuorum, well(rest), len(rest), quorum, complaints(rest)),
			"see to the other members first: start those that have stopped, remove those that will not come back")
	}
	return nil
}

// complaints says what those lack that are not well.
func complaints(all []Status) string {
	var b strings.Builder
	for _, s := range all {
		if s.Err != nil {
			fmt.Fprintf(&b, "; %s: %v", s, s.Err)
		}
	}
	return b.String()
}

// Remove takes a member out of the cluster and makes sure that it is out. One
// that is no member is out already. What is not [Removable] stays; what fails in
// another way is tried again until ctx ends.
func (c *Cluster) Remove(ctx context.Context, id uint64) error {
	err := until(ctx, func(ctx context.Context) (bool, error) {
		members, err := c.Members(ctx)
		if err != nil {
			return false, err
		}
		if _, is := byID(members, id); !is {
			return true, nil
		}
		err = Removable(c.Statuses(ctx, members), id)
		if errors.Is(err, ErrLast) {
			return true, err
		}
		if err == nil {
			err = c.remove(ctx, id)
		}
		return false, err // that it is gone is for the next look to say
	})
	if err != nil {
		return fmt.Errorf("remove the member %x: %w", id, err)
	}
	return nil
}

func (c *Cluster) remove(ctx context.Context, id uint64) error {
	err := c.askAny(ctx, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.MemberRemove(ctx, id)
		return err
	})
	if errors.Is(err, rpctypes.ErrMemberNotFound) {
		return nil
	}
	return err
}
