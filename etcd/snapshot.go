package etcd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"boot.internal/atomicfile"
	"boot.internal/hint"
)

// stallTimeout is how long a member may send nothing of its snapshot. It reads
// from its own disk.
const stallTimeout = 30 * time.Second

// SaveSnapshot writes all data of the cluster, as one member has it at one point
// in time, to a file: whole and verified, or not at all. Only its owner may read
// it, for Secrets are in it. An old file of that name is replaced. One
// member is asked, the first that has a leader: what others have may be old.
func (c *Cluster) SaveSnapshot(ctx context.Context, path string) (Snapshot, error) {
	var s Snapshot
	err := atomicfile.Stream(path, 0o600, func(f *os.File) error {
		err := c.StreamSnapshot(ctx, f)
		if err == nil {
			s, err = ReadSnapshot(f.Name())
		}
		return err
	})
	if errors.Is(err, syscall.ENOSPC) {
		err = hint.With(err, "nothing was kept of it, and no other snapshot was touched: make room, or name another place")
	}
	s.Path = path
	return s, err
}

// StreamSnapshot writes all data of the cluster to w, as it comes, with the
// digest that [ReadSnapshot] verifies at its end. If that fails, w has a part of
// it.
func (c *Cluster) StreamSnapshot(ctx context.Context, w io.Writer) error {
	client, err := c.serving(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(stallTimeout, func() { cancel(fmt.Errorf("etcd sent nothing for %s", stallTimeout)) })
	defer stalled.Stop()
	r, err := client.SnapshotWithVersion(ctx)
	if err != nil {
		return fmt.Errorf("ask etcd for a snapshot: %w", err)
	}
	defer func() { _ = r.Snapshot.Close() }()
	digest := sha256.New()
	tail := &lastBytes{}
	_, err = io.Copy(io.MultiWriter(w, &hashed{digest, tail}), readerFunc(func(p []byte) (int, error) {
		n, err := r.Snapshot.Read(p)
		stalled.Reset(stallTimeout)
		return n, err
	}))
	if err != nil {
		return fmt.Errorf("receive the snapshot: %w", errors.Join(err, context.Cause(ctx)))
	}
	if string(digest.Sum(nil)) != string(tail.bytes) {
		return fmt.Errorf("receive the snapshot: %w", ErrDigest)
	}
	return nil
}

// serving returns the client of the first endpoint that answers for a member
// which has a leader and no complaint.
func (c *Cluster) serving(ctx context.Context) (*clientv3.Client, error) {
	c.mu.Lock()
	endpoints := slices.Clone(c.endpoints)
	c.mu.Unlock()
	var errs []error
	for _, endpoint := range endpoints {
		err := c.askOne(ctx, endpoint, func(ctx context.Context, client *clientv3.Client) error {
			r, err := client.Status(ctx, endpoint)
			switch {
			case err != nil:
				return err
			case r.Leader == 0:
				return errNoLeader
			case r.IsLearner:
				return errors.New("it is a learner")
			}
			return nil
		})
		if err == nil {
			c.prefer(endpoint)
			return c.client(endpoint)
		}
		errs = append(errs, fmt.Errorf("%s: %w", endpoint, err))
	}
	return nil, hint.With(fmt.Errorf("find a member of etcd that is well: %w", errors.Join(errs...)), "'boot etcd status' shows how they are")
}

// readerFunc lets a function be an [io.Reader].
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
