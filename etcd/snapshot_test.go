package etcd

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A snapshot is whole or it is not there.
func TestSnapshots(t *testing.T) {
	l := newLab(t)
	l.place("a")
	l.start("a")
	c := l.cluster()
	l.expect(c, "aV")
	client, err := c.client(l.members["a"].client)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := client.Put(t.Context(), "key", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := client.Put(t.Context(), "gone", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(t.TempDir(), "a.db")
	s, err := c.SaveSnapshot(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Revision != 6 || s.Path != path || len(s.Digest) != 2*sha256.Size || s.Version == "" {
		t.Errorf("%+v", s)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 || fi.Size() != s.Size {
		t.Errorf("%v %v", fi, err)
	}
	again, err := ReadSnapshot(path)
	if diff := cmp.Diff(s, again); err != nil || diff != "" {
		t.Errorf("%v (-saved +read):\n%s", err, diff)
	}
	var streamed bytes.Buffer
	if err := c.StreamSnapshot(t.Context(), &streamed); err != nil {
		t.Error(err)
	}
	if _, err := VerifySnapshot(&streamed); err != nil {
		t.Errorf("what was streamed: %v", err)
	}
	values, err := SnapshotValues(path, "key", "gone", "none")
	if diff := cmp.Diff(map[string][]byte{"key": []byte("2")}, values); err != nil || diff != "" {
		t.Errorf("values: %v (-want +got):\n%s", err, diff)
	}
	values, err = SnapshotUnder(path, "ke")
	if diff := cmp.Diff(map[string][]byte{"key": []byte("2")}, values); err != nil || diff != "" {
		t.Errorf("values of a prefix: %v (-want +got):\n%s", err, diff)
	}
	testBroken(t, path)
	testShelf(t, c)

	now, err := c.Revision(t.Context())
	l.stop("a")
	if read, e := DataRevision(l.members["a"].dir); err != nil || e != nil || now != 6 || read != now {
		t.Errorf("the revision is %d, %v; read: %d, %v", now, err, read, e)
	}
	if _, err := c.SaveSnapshot(within(t, time.Minute), path); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("save what nobody sends: %v", err)
	}
	if again, err := ReadSnapshot(path); err != nil || again.Digest != s.Digest {
		t.Errorf("the old one is gone: %v", err)
	}
}

func testBroken(t *testing.T, path string) {
	t.Helper()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[len(good)/2] ^= 1
	for name, bad := range map[string][]byte{
		"cut off": good[:len(good)/2], "no digest": good[:len(good)-sha256.Size], "changed": flipped, "empty": nil, "something else": []byte("PK"),
	} {
		path := filepath.Join(t.TempDir(), "bad.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSnapshot(path); !errors.Is(err, ErrDigest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A schedule removes its own, once there is a new one that is good.
func testShelf(t *testing.T, c *Cluster) {
	t.Helper()
	shelf := Shelf{Dir: filepath.Join(t.TempDir(), "snapshots")}
	if last, err := shelf.Last(); err != nil || !last.IsZero() {
		t.Errorf("last of none: %s, %v", last, err)
	}
	if err := shelf.Make(); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	kept := shelf.Path(now.Add(-time.Hour), false)
	left := filepath.Join(shelf.Dir, ".scheduled-20260102T000000Z.db.tmp1")
	for _, path := range []string{kept, left} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if _, err := shelf.Take(t.Context(), c, now.Add(time.Duration(i)*time.Minute), 2); err != nil {
			t.Fatal(err)
		}
	}
	got, err := filepath.Glob(filepath.Join(shelf.Dir, "*"))
	want := []string{shelf.Path(now.Add(time.Minute), true), shelf.Path(now.Add(2*time.Minute), true), kept}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if last, err := shelf.Last(); err != nil || !last.Equal(now.Add(2*time.Minute)) {
		t.Errorf("last: %s, %v", last, err)
	}
	if files, err := shelf.Files(); err != nil || len(files) != 3 || files[2] != kept {
		t.Errorf("%q, %v", files, err)
	}
}

func TestDefragmentOrder(t *testing.T) {
	for _, c := range []struct{ members, want string }{
		{"aV", "a"},
		{"aV*", "a"},
		{"aV* bV", "b a"},
		{"aV* bV cV", "b c a"},
		{"aV* bV cL", "b c a"},
		{"aV* bv", "refused"},
		{"aV* bV cv", "refused"},
		{"aV* bV cV dV ev", "b c d a"},
		{"av", "refused"},
		{"aV* bV cl", "b a"},
	} {
		var all []Status
		for text := range strings.FieldsSeq(c.members) {
			s := Status{Member: Member{Name: text[:1], Learner: strings.EqualFold(text[1:2], "l")}, Leader: strings.HasSuffix(text, "*")}
			if text[1] == 'v' || text[1] == 'l' {
				s.Err = errors.New("ill")
			}
			all = append(all, s)
		}
		order, err := DefragmentOrder(all)
		got := strings.ReplaceAll(Names(order), ",", "")
		if errors.Is(err, ErrQuorum) {
			got = "refused"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.members, got, c.want)
		}
	}
}
