package etcd

import (
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// tombstone ends the revision under which a removal is kept: eight bytes, an
// underscore and eight more come before it.
const tombstone = 17

// SnapshotValues reads what some keys had when a snapshot was taken, out of the
// file and without an etcd. Those that were not there are missing.
func SnapshotValues(path string, keys ...string) (map[string][]byte, error) {
	return snapshotWhere(path, func(key string) bool { return slices.Contains(keys, key) })
}

// SnapshotUnder reads all keys with a prefix, and what they had when a snapshot was
// taken, like [SnapshotValues].
func SnapshotUnder(path, prefix string) (map[string][]byte, error) {
	return snapshotWhere(path, func(key string) bool { return strings.HasPrefix(key, prefix) })
}

func snapshotWhere(path string, wanted func(key string) bool) (map[string][]byte, error) {
	values := map[string][]byte{}
	err := viewKeys(path, func(_ *bbolt.Tx, all *bbolt.Bucket) error {
		return all.ForEach(func(revision, record []byte) error { return collect(values, wanted, revision, record) })
	})
	if err != nil {
		return nil, fmt.Errorf("read the database of %s: %w", path, err)
	}
	return values, nil
}

// collect takes in one change. They come in their order.
func collect(values map[string][]byte, wanted func(string) bool, revision, record []byte) error {
	var kv mvccpb.KeyValue
	if err := proto.Unmarshal(record, &kv); err != nil {
		return err
	}
	key := string(kv.Key)
	switch {
	case !wanted(key):
	case len(revision) > tombstone:
		delete(values, key)
	default:
		values[key] = kv.Value
	}
	return nil
}
