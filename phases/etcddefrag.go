package phases

import (
	"context"
	"fmt"

	"boot.internal/hint"

	"boot.internal/etcd"
)

// An EtcdDefrag has every member of etcd give back the disk that it does not use,
// one at a time, the leader last. See [etcd.DefragmentOrder] for when it refuses.
type EtcdDefrag struct {
	cluster *etcd.Cluster
	done    map[uint64]bool // by member, in this run
	left    int             // members planned for and not done yet
}

// NewEtcdDefrag returns the phase for a cluster, which stays the caller's.
func NewEtcdDefrag(c *etcd.Cluster) *EtcdDefrag {
	return &EtcdDefrag{cluster: c, done: map[uint64]bool{}}
}

// Plan implements [Phase]. Once all are done nobody is asked again: that a member is
// busy then, and slow to say how it is, speaks against nothing that is still to do.
func (d *EtcdDefrag) Plan(ctx context.Context) ([]Change, error) {
	if len(d.done) > 0 && d.left == 0 {
		return nil, nil
	}
	all, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	order, err := etcd.DefragmentOrder(all)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, m := range order {
		if d.done[m.ID] {
			continue
		}
		changes = append(changes, Change{
			fmt.Sprintf("defragment %s (%s), which serves nobody meanwhile", m, m.HexID()),
			func(ctx context.Context) error { return d.one(ctx, m) },
		})
	}
	d.left = len(changes)
	return changes, nil
}

func (d *EtcdDefrag) look(ctx context.Context) ([]etcd.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	members, err := d.cluster.Members(ctx)
	if err != nil {
		return nil, hint.With(err, "'boot etcd status' shows how the members are")
	}
	return d.cluster.Statuses(ctx, members), nil
}

// one looks again at the others: the one before may not have come back well.
func (d *EtcdDefrag) one(ctx context.Context, m etcd.Member) error {
	all, err := d.look(ctx)
	if err != nil {
		return err
	}
	if _, err := etcd.DefragmentOrder(all); err != nil {
		return err
	}
	if err := d.cluster.Defragment(ctx, m); err != nil {
		return err
	}
	d.done[m.ID] = true
	d.left--
	return nil
}
