package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func entries(t *testing.T, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range all {
		out = append(out, e.Name())
	}
	return out
}

func TestUnpack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "engine")
	a := pack(t, map[string]string{"containerd": "C", "runc": "R"})
	got, err := unpack(t.Context(), a, dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(got, "runc"))
	fi, statErr := os.Stat(filepath.Join(got, "runc"))
	if err != nil || statErr != nil || string(data) != "R" || fi.Mode().Perm() != 0o755 {
		t.Fatalf("runc: %q, %v, %v, %v", data, fi, err, statErr)
	}
	sum, err := sumOf(a)
	if err != nil || filepath.Base(got) != sum {
		t.Errorf("unpacked into %s, digest %s, %v", got, sum, err)
	}
	// A second time nothing is read: with its digest known, an empty archive will do.
	again, err := unpack(t.Context(), packed{sum: sum}, dir)
	if err != nil || again != got {
		t.Errorf("second: %s, %v", again, err)
	}
}

func TestUnpackLeavesNothingOfABadArchive(t *testing.T) {
	good := pack(t, map[string]string{"containerd": "C"})
	for name, tc := range map[string]struct {
		archive packed
		want    string
	}{
		"truncated":     {packed{data: good.data[:len(good.data)-9]}, "unexpected EOF"},
		"empty":         {packed{}, "no containerd"},
		"no zstd":       {packed{data: []byte("plain text, not zstd")}, "magic"},
		"other program": {pack(t, map[string]string{"runc": "R"}), "no containerd"},
		"other digest":  {packed{data: good.data, sum: "abc"}, "damaged"},
		"sub-directory": {pack(t, map[string]string{"bin/containerd": "C"}), "flat directory"},
		"outside":       {pack(t, map[string]string{"../containerd": "C"}), "flat directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := unpack(t.Context(), tc.archive, dir)
			wantParts(t, err, "unpack the engine: ", tc.want)
			if left := entries(t, dir); len(left) > 0 {
				t.Errorf("left behind %v", left)
			}
		})
	}
}

func TestUnpackStopsWhenCancelled(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := unpack(ctx, pack(t, map[string]string{"runc": "R"}), dir); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if left := entries(t, dir); len(left) > 0 {
		t.Errorf("left behind %v", left)
	}
}

func TestUnpackAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	a := pack(t, map[string]string{"containerd": "C", "runc": "R"})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := unpack(t.Context(), a, dir); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := entries(t, dir); len(got) != 1 {
		t.Errorf("unpacked into %v", got)
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"old", "new", ".unpack-1"} {
		mkdir(t, filepath.Join(dir, name))
	}
	write(t, filepath.Join(dir, "imports.json"), nil)
	if err := prune(dir, filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 2 || got[0] != "imports.json" || got[1] != "new" {
		t.Errorf("kept %v", got)
	}
}
