package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"boot.internal/hint"
)

// DefragmentOrder says in what order members are defragmented, which serve
// nobody meanwhile: the leader last, so that it is elected away at most once. It
// refuses, with an error that wraps [ErrQuorum], if a member that is busy would
// cost the others their quorum because some are not well. Of one or two members
// none can be spared, so those have to be well, and the cluster waits.
func DefragmentOrder(all []Status) ([]Member, error) {
	have := voters(all)
	quorum := len(have)/2 + 1
	if spare := well(have) - 1; spare < quorum && well(have) < len(have) {
		return nil, hint.With(fmt.Errorf("defragment: %w: %d of %d members are well, and it takes %d beside the one that is busy%s",
			ErrQuorum, well(have), len(have), quorum, complaints(have)),
			"see to the others first: start those that have stopped, remove those that will not come back")
	}
	order := slices.DeleteFunc(slices.Clone(all), func(s Status) bool { return s.Err != nil && len(s.Alarms) == 0 })
	slices.SortStableFunc(order, func(a, b Status) int { return cmp.Compare(rank(a), rank(b)) })
	var members []Member
	for _, s := range order {
		members = append(members, s.Member)
	}
	return members, nil
}

func rank(s Status) int {
	if s.Leader {
		return 1
	}
	return 0
}

// Defragment has a member give back the space on its disk that it does not use,
// and waits until it is well again. It serves nobody meanwhile. That takes as long
// as the disk takes: only ctx ends it.
func (c *Cluster) Defragment(ctx context.Context, m Member) error {
	if len(m.ClientURLs) == 0 {
		return fmt.Errorf("defragment %s: %w", m, errNotStarted)
	}
	endpoint := m.ClientURLs[0]
	client, err := c.client(endpoint)
	if err == nil {
		_, err = client.Defragment(ctx, endpoint)
	}
	if err != nil {
		return fmt.Errorf("defragment %s: %w", m, err)
	}
	err = until(ctx, func(ctx context.Context) (bool, error) {
		s := c.status(ctx, m)
		return s.Err == nil || len(s.Alarms) > 0, s.Err
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("wait for %s after it was defragmented: %w", m, err)
	}
	return nil
}
