package etcd

import (
	"context"
	"fmt"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Revision asks for the revision of the last change that some member has.
func (c *Cluster) Revision(ctx context.Context) (int64, error) {
	var revision int64
	err := c.askAny(ctx, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Status(ctx, client.Endpoints()[0])
		if err == nil {
			revision = r.Header.GetRevision()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ask for etcd's revision: %w", err)
	}
	return revision, nil
}

// DataRevision reads the revision of the last change out of the data directory of
// an etcd that does not run: one that does keeps it locked.
func DataRevision(dir string) (int64, error) {
	s := Snapshot{Path: filepath.Join(dir, "member", "snap", "db")}
	if err := s.look(); err != nil {
		return 0, fmt.Errorf("read the database of %s: %w", dir, err)
	}
	return s.Revision, nil
}
