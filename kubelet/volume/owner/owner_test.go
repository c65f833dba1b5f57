package owner

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

// tree makes a volume of a directory, files and a link out of it.
func tree(t *testing.T) (dir, outside string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	base := t.TempDir()
	dir, outside = filepath.Join(base, "vol"), filepath.Join(base, "outside")
	for _, d := range []string{dir, dir + "/sub", outside} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{dir + "/plain", dir + "/sub/program", outside + "/file"} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir+"/sub/program", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{dir + "/dir", dir + "/sub/dir"} {
		if err := os.Symlink(outside, link); err != nil {
			t.Fatal(err)
		}
	}
	return dir, outside
}

// owners returns mode and group of everything below dir.
func owners(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.Walk(dir, func(path string, fi fs.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		group := "root"
		if fi.Sys().(*syscall.Stat_t).Gid != 0 {
			group = "group"
		}
		all[rel] = fi.Mode().String() + " " + group
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestApply(t *testing.T) {
	dir, outside := tree(t)
	before := owners(t, outside)
	if err := Apply(t.Context(), Change{Dir: dir, Group: 4000}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		".": "dgrwxrwx--- group", "plain": "-rw-rw---- group", "dir": "Lrwxrwxrwx group",
		"sub": "dgrwxrwx--- group", "sub/program": "-rwxrwxr-x group", "sub/dir": "Lrwxrwxrwx group",
	}
	if diff := cmp.Diff(want, owners(t, dir)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, owners(t, outside)); diff != "" {
		t.Errorf("what links lead to was changed: %s", diff)
	}
}

func TestPolicy(t *testing.T) {
	for name, tc := range map[string]struct {
		policy v1.PodFSGroupChangePolicy
		root   func(dir string) error
		change bool
	}{
		"always":                   {v1.FSGroupChangeAlways, func(string) error { return nil }, true},
		"root matches":             {v1.FSGroupChangeOnRootMismatch, func(string) error { return nil }, false},
		"root of another group":    {v1.FSGroupChangeOnRootMismatch, func(d string) error { return os.Lchown(d, -1, 1) }, true},
		"root not writable":        {v1.FSGroupChangeOnRootMismatch, func(d string) error { return os.Chmod(d, 0o750|fs.ModeSetgid) }, true},
		"root without its set bit": {v1.FSGroupChangeOnRootMismatch, func(d string) error { return os.Chmod(d, 0o770) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := tree(t)
			if err := Apply(t.Context(), Change{Dir: dir, Group: 4000}); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "sub/program")
			if err := os.Chmod(file, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := tc.root(dir); err != nil {
				t.Fatal(err)
			}
			if err := Apply(t.Context(), Change{Dir: dir, Group: 4000, Policy: &tc.policy}); err != nil {
				t.Fatal(err)
			}
			fi, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if changed := fi.Mode() != 0o600; changed != tc.change {
				t.Errorf("mode is %v; changed: %v, want %v", fi.Mode(), changed, tc.change)
			}
		})
	}
}

func TestApplyCanBeCutShort(t *testing.T) {
	dir, _ := tree(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Apply(ctx, Change{Dir: dir, Group: 4000}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if matches(dir, 4000) {
		t.Error("the root was changed before what is in it")
	}
}

func TestProgressIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w walk
		told := make(chan string)
		stop := w.report(Change{Name: "uid/v", Progress: func(message string) { told <- message }})
		if got := <-told; !strings.HasPrefix(got, "Setting volume ownership for uid/v is taking longer than expected") {
			t.Error(got)
		}
		w.files.Store(7)
		if got := <-told; got != "Setting volume ownership for uid/v, processed 7 files." {
			t.Error(got)
		}
		stop()
	})
}
