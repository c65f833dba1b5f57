package volume

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/nstest"
)

// part returns a part of an emptyDir volume of p, the first mount of "main".
func part(t *testing.T, v *Volumes, p *v1.Pod, path string) pod.SubPath {
	t.Helper()
	t.Cleanup(func() {
		if err := v.Teardown(context.WithoutCancel(t.Context()), p.UID); err != nil {
			t.Error(err)
		}
	})
	return pod.SubPath{Container: "main", Name: "v", Volume: pod.Volume{Path: setup(t, v, p)}, Path: path}
}

func subPath(t *testing.T, v *Volumes, p *v1.Pod, sub pod.SubPath) string {
	t.Helper()
	path, err := v.SubPath(t.Context(), p, sub)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSubPathIsMadeAndMounted(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	v, p := newVolumes(t), newPod(emptyDir(v1.EmptyDirVolumeSource{}))
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(2000))}
	sub := part(t, v, p, "a/b")
	path := subPath(t, v, p, sub)
	if want := filepath.Join(v.PodsDir, "uid-1/volume-subpaths/v/main/0"); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	inside := filepath.Join(sub.Volume.Path, "a/b")
	if mode, _ := modeOf(t, inside); mode != 0o777|os.ModeSetgid {
		t.Errorf("mode %v, want the volume's", mode)
	}
	if err := os.WriteFile(filepath.Join(path, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(inside, "file")); err != nil {
		t.Error(err)
	}
	if again := subPath(t, v, p, sub); again != path {
		t.Errorf("path %s, then %s", path, again)
	}
	// The mount goes with the pod; it takes nothing along that is elsewhere.
	outside, file := precious(t)
	sub.Volume.Path, sub.Path, sub.Index = filepath.Dir(outside), filepath.Base(outside), 1
	subPath(t, v, p, sub)
	if err := v.Teardown(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestSubPathOfFile(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	v, p := newVolumes(t), newPod(emptyDir(v1.EmptyDirVolumeSource{}))
	sub := part(t, v, p, "file")
	file := filepath.Join(sub.Volume.Path, "file")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	// A file that was replaced is another one to the next container.
	for _, text := range []string{"one", "two"} {
		write(text)
		if got, err := os.ReadFile(subPath(t, v, p, sub)); err != nil || string(got) != text {
			t.Errorf("read %q, %v", got, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(subPath(t, v, p, sub)); err != nil || !fi.IsDir() { // it is made anew
		t.Errorf("got %v, %v", fi, err)
	}
}

func TestSubPathFollowsLinksWithinTheVolume(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	v, p := newVolumes(t), newPod(emptyDir(v1.EmptyDirVolumeSource{}))
	sub := part(t, v, p, "key")
	for name, to := range map[string]string{"key": "..data/key", "..data": "..2000"} {
		if err := os.Symlink(to, filepath.Join(sub.Volume.Path, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(sub.Volume.Path, "..2000"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sub.Volume.Path, "..2000/key"), []byte("value"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(subPath(t, v, p, sub)); err != nil || string(got) != "value" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestSubPathStaysInTheVolume(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	outside, file := precious(t)
	for name, tc := range map[string]struct {
		link, to, path string
		want           string
	}{
		"a link out":              {"evil", outside, "evil", "failed to prepare subPath for volumeMount"},
		"a file behind a link":    {"evil", outside, "evil/precious", "failed to prepare subPath for volumeMount"},
		"up and out":              {"evil", "../../../../../../../../../etc", "evil", "failed to prepare subPath for volumeMount"},
		"a new one behind a link": {"evil", outside, "evil/new", "failed to prepare subPath for volumeMount"},
		"a link to nowhere":       {"evil", "/does/not/exist", "evil", "failed to prepare subPath for volumeMount"},
		"a link to the kernel":    {"evil", "/proc/self/root", "evil", "failed to prepare subPath for volumeMount"},
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Unshare(t, unix.CLONE_NEWNS)
			v, p := newVolumes(t), newPod(emptyDir(v1.EmptyDirVolumeSource{}))
			sub := part(t, v, p, tc.path)
			if err := os.Symlink(tc.to, filepath.Join(sub.Volume.Path, tc.link)); err != nil {
				t.Fatal(err)
			}
			path, err := v.SubPath(t.Context(), p, sub)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), tc.to) {
				t.Errorf("got %q, %v; want %q", path, err, tc.want)
			}
		})
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 || entries[0].Type() != fs.FileMode(0) {
		t.Errorf("%s holds %v, %v; want only %s", outside, entries, err, file)
	}
}
