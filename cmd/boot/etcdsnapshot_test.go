package main

import (
	"os"
	"path/filepath"
	"testing"
)

// What the schedule removes while snapshots are read is not broken.
func TestReadSnapshots(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "a.db")
	if err := os.WriteFile(broken, []byte("cut off"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, n := readSnapshots([]string{broken, broken + ".gone"})
	if n != 1 || len(all) != 1 || all[0].Path != broken || all[0].Intact {
		t.Errorf("%d are broken of %+v", n, all)
	}
}
