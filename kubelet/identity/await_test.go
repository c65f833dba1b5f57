package identity

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What is made between the failed watch of a directory and the watch of the one
// above it is watched all the same.
func TestFollowSeesWhatIsMadeMeanwhile(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "etc", "kubernetes")
	var watched []string
	err := follow(func(path string) error {
		if path == top {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		_, err := os.Stat(path)
		if err == nil {
			watched = append(watched, path)
		}
		return err
	}, dir)
	if err != nil || !slices.Equal(watched, []string{top, dir}) {
		t.Errorf("watched %v, error %v", watched, err)
	}
}

// A link that leads nowhere is as good as nothing.
func TestFollowDanglingLink(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "etc")
	if err := os.Symlink("nowhere", dir); err != nil {
		t.Fatal(err)
	}
	var watched []string
	err := follow(func(path string) error {
		_, err := os.Stat(path)
		if err == nil {
			watched = append(watched, path)
		}
		return err
	}, dir)
	if err != nil || !slices.Equal(watched, []string{top}) {
		t.Errorf("watched %v, error %v", watched, err)
	}
}
