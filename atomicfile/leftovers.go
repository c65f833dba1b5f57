package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// prefix is what the names of temporary files for path begin with. Digits follow.
func prefix(path string) string { return "." + filepath.Base(path) + ".tmp" }

// Leftovers returns what was being written to take the place of path by processes
// that were killed meanwhile, or is being written now.
func Leftovers(path string) ([]string, error) {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var left []string
	for _, e := range entries {
		end, ours := strings.CutPrefix(e.Name(), prefix(path))
		if ours && end != "" && strings.Trim(end, "0123456789") == "" && e.Type().IsRegular() {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	return left, nil
}

// sweep removes what processes that were killed have left of path: there may be
// keys in it. What cannot be removed stays; it is in nobody's way.
func sweep(path string) {
	left, err := Leftovers(path)
	if err != nil {
		return
	}
	for _, at := range left {
		f, err := os.OpenFile(at, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if lock(f, unix.F_WRLCK) == nil { // so nobody writes it any more
			_ = os.Remove(at)
		}
		_ = f.Close()
	}
}
