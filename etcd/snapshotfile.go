package etcd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// ErrDigest reports a snapshot that is not what etcd sent: it was cut off or
// changed.
var ErrDigest = errors.New("the snapshot does not match the digest at its end: it was cut off or changed")

// A Snapshot is a file with all data of a cluster, as etcd wrote it: its database,
// followed by the SHA-256 of that.
type Snapshot struct {
	Path string
	// Taken is when the file was written.
	Taken time.Time
	// Size is that of the file, in bytes.
	Size int64
	// Revision is that of the last change in it.
	Revision int64
	// Version is that of the database, "3.6.0"; empty before etcd 3.6.
	Version string
	// Digest identifies the content: hexadecimal.
	Digest string
}

// ReadSnapshot verifies a snapshot wholly and says what it is. The error wraps
// [ErrDigest] if it is not as etcd wrote it.
func ReadSnapshot(path string) (Snapshot, error) {
	s := Snapshot{Path: path}
	f, err := os.Open(path)
	if err != nil {
		return s, fmt.Errorf("read the snapshot: %w", err)
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return s, fmt.Errorf("read the snapshot: %w", err)
	}
	s.Taken, s.Size = fi.ModTime(), fi.Size()
	if s.Digest, err = VerifySnapshot(f); err != nil {
		return s, fmt.Errorf("verify %s: %w", path, err)
	}
	if err := s.look(); err != nil {
		return s, fmt.Errorf("read the database of %s: %w", path, err)
	}
	return s, nil
}

// VerifySnapshot reads a snapshot to its end and returns its digest. The error
// is [ErrDigest] if it is not whole.
func VerifySnapshot(r io.Reader) (digest string, err error) {
	h, tail := sha256.New(), &lastBytes{}
	n, err := io.Copy(&hashed{h, tail}, r)
	if err != nil {
		return "", err
	}
	if n <= sha256.Size || !bytes.Equal(h.Sum(nil), tail.bytes) {
		return "", ErrDigest
	}
	return hex.EncodeToString(tail.bytes), nil
}

// look reads what the database says of itself. The buckets and the form of
// revisions are etcd's: server/storage/schema and mvcc.
func (s *Snapshot) look() error {
	return viewKeys(s.Path, func(tx *bbolt.Tx, keys *bbolt.Bucket) error {
		if last, _ := keys.Cursor().Last(); len(last) >= 8 {
			s.Revision = int64(binary.BigEndian.Uint64(last)) //nolint:gosec // etcd's own conversion
		}
		if meta := tx.Bucket([]byte("meta")); meta != nil {
			s.Version = string(meta.Get([]byte("storageVersion")))
		}
		return nil
	})
}

// viewKeys shows the database in a file, and in it the bucket of all keys.
func viewKeys(path string, view func(*bbolt.Tx, *bbolt.Bucket) error) error {
	db, err := bbolt.Open(path, 0o400, &bbolt.Options{ReadOnly: true, Timeout: callTimeout})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		keys := tx.Bucket([]byte("key"))
		if keys == nil {
			return errors.New("it holds no keys of etcd")
		}
		return view(tx, keys)
	})
	return errors.Join(err, db.Close())
}

// hashed hashes what is written to it, but for the last bytes, which it keeps.
type hashed struct {
	hash hash.Hash
	tail *lastBytes
}

// lastBytes are as many as a digest has.
type lastBytes struct{ bytes []byte }

// Write implements [io.Writer].
func (h *hashed) Write(p []byte) (int, error) {
	all := append(h.tail.bytes, p...)
	cut := max(0, len(all)-sha256.Size)
	_, _ = h.hash.Write(all[:cut]) // it never fails
	h.tail.bytes = bytes.Clone(all[cut:])
	return len(p), nil
}

// The names of snapshots in a [Shelf]. Those that were asked for by name stay.
const (
	scheduledPrefix = "scheduled-"
	manualPrefix    = "snapshot-"
	snapshotSuffix  = ".db"
	snapshotTime    = "20060102T150405Z"
)

// A Shelf is a directory of snapshots, by default /var/lib/boot/snapshots.
type Shelf struct{ Dir string }

// Path returns where to put a snapshot taken now, one of a schedule or one that
// somebody asked for.
func (s Shelf) Path(now time.Time, scheduled bool) string {
	prefix := manualPrefix
	if scheduled {
		prefix = scheduledPrefix
	}
	return filepath.Join(s.Dir, prefix+now.UTC().Format(snapshotTime)+snapshotSuffix)
}

// Make makes the directory, which only root may enter.
func (s Shelf) Make() error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of snapshots: %w", err)
	}
	return nil
}

// Files returns the paths of all snapshots, the newest first.
func (s Shelf) Files() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the snapshots: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, ok := takenAt(e.Name()); ok && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		ta, _ := takenAt(a)
		tb, _ := takenAt(b)
		return tb.Compare(ta)
	})
	for i, name := range names {
		names[i] = filepath.Join(s.Dir, name)
	}
	return names, nil
}

// takenAt reads when a snapshot was taken from the name of its file; ok is false
// for a file that is none of ours.
func takenAt(name string) (t time.Time, ok bool) {
	name, ok = strings.CutSuffix(name, snapshotSuffix)
	_, stamp, dashed := strings.Cut(name, "-")
	t, err := time.Parse(snapshotTime, stamp)
	return t, ok && dashed && err == nil
}

// scheduled returns those that a schedule has made, the newest first.
func (s Shelf) scheduled() ([]string, error) {
	all, err := s.Files()
	return slices.DeleteFunc(all, func(path string) bool {
		return !strings.HasPrefix(filepath.Base(path), scheduledPrefix)
	}), err
}

// Last returns when the newest snapshot of the schedule was taken; zero if there
// is none.
func (s Shelf) Last() (time.Time, error) {
	all, err := s.scheduled()
	if err != nil || len(all) == 0 {
		return time.Time{}, err
	}
	t, _ := takenAt(filepath.Base(all[0]))
	return t, nil
}

// Take takes a snapshot of the schedule, and once that is verified removes those
// that are older than the newest keep.
func (s Shelf) Take(ctx context.Context, c *Cluster, now time.Time, keep int) (Snapshot, error) {
	if err := s.Make(); err != nil {
		return Snapshot{}, err
	}
	if err := s.tidy(); err != nil {
		return Snapshot{}, err
	}
	taken, err := c.SaveSnapshot(ctx, s.Path(now, true))
	if err != nil {
		return taken, err
	}
	return taken, s.prune(keep)
}

// prune removes all but the newest snapshots of the schedule.
func (s Shelf) prune(keep int) error {
	all, err := s.scheduled()
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range all[min(max(keep, 1), len(all)):] {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

// tidy removes what was being written when its process was killed. Nobody else
// writes to the directory under these names at the same time: it is the loop's.
func (s Shelf) tidy() error {
	left, err := filepath.Glob(filepath.Join(s.Dir, "."+scheduledPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range left {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}
