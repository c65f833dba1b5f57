package userns

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

func all() (first, count uint32, err error) { return 0, 0, nil }

func few(first, count uint32) func() (uint32, uint32, error) {
	return func() (uint32, uint32, error) { return first, count, nil }
}

func of(t *testing.T, r *Ranges, uid types.UID) pod.IDRange {
	t.Helper()
	got, err := r.Of(uid)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRanges(t *testing.T) {
	o := Options{PodsDir: t.TempDir(), MaxPods: 110, Subordinate: all}
	r := New(o)
	a, b := of(t, r, "a"), of(t, r, "b")
	if want := (pod.IDRange{First: 65536, Count: 65536}); a != want {
		t.Errorf("first pod: %+v, want %+v", a, want)
	}
	if want := (pod.IDRange{First: 131072, Count: 65536}); b != want {
		t.Errorf("second pod: %+v, want %+v", b, want)
	}
	if again := of(t, r, "a"); again != a {
		t.Errorf("asked again: %+v, want %+v", again, a)
	}
	data, err := os.ReadFile(filepath.Join(o.PodsDir, "a", "userns"))
	want := `{"uidMappings":[{"hostId":65536,"containerId":0,"length":65536}],"gidMappings":[{"hostId":65536,"containerId":0,"length":65536}]}`
	if err != nil || string(data) != want {
		t.Errorf("file: %s, %v; want %s", data, err, want)
	}

	r = New(o) // boot starts again
	if c := of(t, r, "c"); c.First != 196608 {
		t.Errorf("third pod, after a restart: %+v", c)
	}
	if again := of(t, r, "b"); again != b {
		t.Errorf("after a restart: %+v, want %+v", again, b)
	}
	if err := os.RemoveAll(filepath.Join(o.PodsDir, "a")); err != nil {
		t.Fatal(err)
	}
	r.Reap()
	if d := of(t, r, "d"); d != a {
		t.Errorf("in the place of a pod that is gone: %+v, want %+v", d, a)
	}
	r.Release("b")
	if e := of(t, r, "e"); e != b {
		t.Errorf("in the place of a released pod: %+v, want %+v", e, b)
	}
}

func TestSubordinate(t *testing.T) {
	r := New(Options{PodsDir: t.TempDir(), MaxPods: 2, IDsPerPod: 131072, Subordinate: few(1<<20, 2*131072)})
	if a := of(t, r, "a"); a != (pod.IDRange{First: 1 << 20, Count: 131072}) {
		t.Errorf("%+v", a)
	}
	of(t, r, "b")
	if _, err := r.Of("c"); err == nil || err.Error() != "create user namespace: could not find an empty slot to allocate a user namespace" {
		t.Errorf("third of two: %v", err)
	}
}

// TestLast gives out the very last IDs.
func TestLast(t *testing.T) {
	r := New(Options{PodsDir: t.TempDir(), Subordinate: all})
	for i := range uint32(65534) {
		r.taken[types.UID(strconv.Itoa(int(i)))] = (i + 1) * unit
	}
	if got := of(t, r, "last"); got != (pod.IDRange{First: 65535 * unit, Count: unit}) {
		t.Errorf("%+v", got)
	}
	if got, err := r.Of("one more"); err == nil {
		t.Errorf("one more: %+v", got)
	}
}

// TestUnusable shows what keeps pods from having users of their own.
func TestUnusable(t *testing.T) {
	away := errors.New("directory is away")
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"no answer", Options{Subordinate: func() (uint32, uint32, error) { return 0, 0, away }}, "user namespace: directory is away"},
		{"length", Options{IDsPerPod: 1000, Subordinate: all}, "kubelet user namespace length 1000 is not a multiple of 65536 below 1<<32"},
		{"too long", Options{IDsPerPod: 1 << 32, Subordinate: all}, "kubelet user namespace length 4294967296 is not a multiple"},
		{"uneven start", Options{Subordinate: few(1000, 65536)}, "kubelet user assigned ID 1000 is not a multiple of 65536"},
		{"root", Options{Subordinate: few(0, 65536)}, "kubelet user assigned ID 0 must be greater or equal to 65536"},
		{"uneven count", Options{Subordinate: few(65536, 65537)}, "kubelet user assigned IDs length 65537 is not a multiple of 65536"},
		{"too few", Options{MaxPods: 3, Subordinate: few(65536, 2*65536)}, "kubelet user assigned IDs are not enough to support 3 pods"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.PodsDir = t.TempDir()
			if _, err := New(c.o).Of("a"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// TestBroken has a range on disk that no pod can have: nobody else gets one
// before that pod is gone, for it may run with the same users.
func TestBroken(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"no JSON":      {`{`, "invalid user namespace mappings file"},
		"none":         {`{}`, "there must be one mapping"},
		"groups":       {`{"uidMappings":[{"hostId":65536,"containerId":0,"length":65536}],"gidMappings":[{"hostId":0,"containerId":0,"length":65536}]}`, "there must be one mapping"},
		"not root":     {twice(`{"hostId":65536,"containerId":1,"length":65536}`), "there must be one mapping"},
		"length":       {twice(`{"hostId":65536,"containerId":0,"length":1}`), "wrong user namespace length 1"},
		"offset":       {twice(`{"hostId":65537,"containerId":0,"length":65536}`), "wrong user namespace offset specified 65537"},
		"out of range": {twice(`{"hostId":0,"containerId":0,"length":65536}`), "id 0 is out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "old"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "old", "userns"), []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			r := New(Options{PodsDir: dir, Subordinate: all})
			if _, err := r.Of("new"); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"old"`) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if err := os.RemoveAll(filepath.Join(dir, "old")); err != nil {
				t.Fatal(err)
			}
			of(t, r, "new")
		})
	}
}

// TestTaken has two pods with one range.
func TestTaken(t *testing.T) {
	dir := t.TempDir()
	for _, uid := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(dir, uid), 0o755); err != nil {
			t.Fatal(err)
		}
		file := twice(`{"hostId":65536,"containerId":0,"length":65536}`)
		if err := os.WriteFile(filepath.Join(dir, uid, "userns"), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(Options{PodsDir: dir, Subordinate: all}).Of("c"); err == nil || !strings.Contains(err.Error(), "already taken") {
		t.Error(err)
	}
}

func twice(m string) string { return `{"uidMappings":[` + m + `],"gidMappings":[` + m + `]}` }

func TestParseSubIDs(t *testing.T) {
	first, count, err := parseSubIDs("0: kubelet 65536 2147483648\n")
	if err != nil || first != 65536 || count != 1<<31 {
		t.Errorf("%d, %d, %v", first, count, err)
	}
	for _, out := range []string{"", "kubelet", "0: kubelet a 1\n", "0: kubelet 1 -1\n", "0: kubelet 1 4294967296\n", "0: kubelet 1 2\n1: kubelet 3 4\n"} {
		if _, _, err := parseSubIDs(out); err == nil {
			t.Errorf("%q was read", out)
		}
	}
}
