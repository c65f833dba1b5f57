package backup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample returns an archive of two files.
func sample(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	var out bytes.Buffer
	w, err := NewWriter(&out, About{Taken: time.Unix(1, 0).UTC(), Node: "node1", Address: "192.0.2.10"})
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"ca.crt": 0o644, "ca.key": 0o600} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("content of "+name), mode); err != nil {
			t.Fatal(err)
		}
		if err := w.Add("pki/"+name, file); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestThereAndBack(t *testing.T) {
	data := sample(t)
	dir := t.TempDir()
	a, err := Extract(bytes.NewReader(data), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := About{Format: 1, Taken: time.Unix(1, 0).UTC(), Node: "node1", Address: "192.0.2.10"}
	if diff := cmp.Diff(want, a.About); diff != "" || len(a.Files) != 2 || a.Digest == "" {
		t.Errorf("%v %s %s", a.Files, a.Digest, diff)
	}
	got, err := os.ReadFile(a.Path("pki/ca.key"))
	if err != nil || string(got) != "content of ca.key" {
		t.Errorf("%q, %v", got, err)
	}
	if fi, err := os.Stat(a.Path("pki/ca.key")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if _, err := Extract(bytes.NewReader(data), dir); err == nil {
		t.Error("extracted over what was there")
	}
}

// However little is missing, an archive that was cut off is not whole; nor is one
// in which anything was changed.
func TestBroken(t *testing.T) {
	data := sample(t)
	for n := range data {
		if _, err := Extract(bytes.NewReader(data[:n]), t.TempDir()); !errors.Is(err, ErrBroken) {
			t.Fatalf("cut off at %d of %d: %v", n, len(data), err)
		}
	}
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 0x10
		a, err := Extract(bytes.NewReader(changed), t.TempDir())
		if err == nil {
			whole, _ := Extract(bytes.NewReader(data), t.TempDir())
			if diff := cmp.Diff(whole.About, a.About); diff != "" || whole.Digest != a.Digest {
				t.Fatalf("changed at %d of %d: %s", i, len(data), diff)
			}
		}
	}
	for _, none := range []string{"", "PK\x03\x04 and so on"} {
		if _, err := Extract(bytes.NewReader([]byte(none)), t.TempDir()); !errors.Is(err, ErrBroken) {
			t.Errorf("%q: %v", none, err)
		}
	}
}

// An archive reaches nothing but its directory.
func TestStaysInside(t *testing.T) {
	for _, name := range []string{"../evil", "/etc/passwd", "a/../../evil", "a//b", "backup.json"} {
		var out bytes.Buffer
		w, err := NewWriter(&out, About{})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "f")
		if err := errors.Join(os.WriteFile(file, nil, 0o600), w.Add(name, file), w.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := Extract(&out, t.TempDir()); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
