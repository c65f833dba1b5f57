package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Alone takes all members but one out of the cluster and makes sure that they are
// out: those first that are not well, so that the others keep their quorum on the
// way. What is removed serves nobody any more, wherever it is. It takes a quorum to
// begin with, and that the one which stays is well.
func (c *Cluster) Alone(ctx context.Context, id uint64) error {
	members, err := c.Members(ctx)
	if err != nil {
		return err
	}
	for _, s := range goingOrder(c.Statuses(ctx, members), id) {
		if err := c.Remove(ctx, s.ID); err != nil {
			return fmt.Errorf("take %s out of etcd: %w", s.Member, err)
		}
	}
	return nil
}

// goingOrder are all but one: learners, who have no vote to lose, then those that
// are not well, and at last those that lead.
func goingOrder(all []Status, id uint64) []Status {
	rank := func(s Status) int {
		switch {
		case s.Learner:
			return 0
		case s.Err != nil:
			return 1
		case s.Leader:
			return 3
		}
		return 2
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(s Status) bool { return s.ID == id })
	slices.SortStableFunc(rest, func(a, b Status) int { return cmp.Compare(rank(a), rank(b)) })
	return rest
}
