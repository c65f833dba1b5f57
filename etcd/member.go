package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Member is one of the cluster's etcd servers, as the cluster knows it.
type Member struct {
	ID         uint64
	Name       string   // of its node; empty until it has started for the first time
	PeerURLs   []string // where the others reach it
	ClientURLs []string // where clients reach it; empty until it has started
	Learner    bool     // it gets all data and has no vote
}

// String names the member as people do: by its node, or while that is not known
// by its ID.
func (m Member) String() string {
	if m.Name == "" {
		return m.HexID()
	}
	return m.Name
}

// HexID is the ID as etcd's own tools write it.
func (m Member) HexID() string { return strconv.FormatUint(m.ID, 16) }

// Started says whether it has ever run.
func (m Member) Started() bool { return m.Name != "" }

// Members asks the cluster who its members are, sorted by name, those without one
// last. It takes a quorum to know that for sure.
func (c *Cluster) Members(ctx context.Context) ([]Member, error) { return c.list(ctx, true) }

// MembersSeen asks the first member that answers who it takes for members, in a
// cluster that may have no quorum.
func (c *Cluster) MembersSeen(ctx context.Context) ([]Member, error) { return c.list(ctx, false) }

func (c *Cluster) list(ctx context.Context, linearizable bool) ([]Member, error) {
	var members []Member
	var options []clientv3.OpOption
	if !linearizable {
		options = append(options, clientv3.WithSerializable())
	}
	err := c.askAny(ctx, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.MemberList(ctx, options...)
		if err == nil {
			members = fromProto(r.Members)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the members of etcd: %w", err)
	}
	c.learn(members)
	return members, nil
}

func fromProto(list []*etcdserverpb.Member) []Member {
	var members []Member
	for _, m := range list {
		members = append(members, Member{m.GetID(), m.GetName(), m.GetPeerURLs(), m.GetClientURLs(), m.GetIsLearner()})
	}
	slices.SortFunc(members, func(a, b Member) int {
		if a.Started() != b.Started() {
			return cmp.Compare(b.Name, a.Name)
		}
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return members
}

// Find returns the member that is known by a name or a hexadecimal ID; ok is
// false if there is none.
func Find(members []Member, nameOrID string) (m Member, ok bool) {
	for _, is := range []func(Member) bool{
		func(m Member) bool { return m.Name == nameOrID && m.Started() },
		func(m Member) bool { return m.HexID() == strings.ToLower(nameOrID) },
	} {
		if i := slices.IndexFunc(members, is); i >= 0 {
			return members[i], true
		}
	}
	return Member{}, false
}

// At returns the member that has a peer URL; ok is false if there is none.
func At(members []Member, peerURL string) (m Member, ok bool) {
	i := slices.IndexFunc(members, func(m Member) bool { return slices.Contains(m.PeerURLs, peerURL) })
	if i < 0 {
		return Member{}, false
	}
	return members[i], true
}

// Names lists members for people.
func Names(members []Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.String())
	}
	return strings.Join(all, ", ")
}
