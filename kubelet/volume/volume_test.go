package volume

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/nstest"
)

// newVolumes returns volumes below a new directory, on a node of 1 GiB.
func newVolumes(t *testing.T) *Volumes {
	t.Helper()
	return New(Options{
		PodsDir: filepath.Join(t.TempDir(), "pods"),
		Allocatable: func() v1.ResourceList {
			return v1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("1Gi")}
		},
		Logger: slog.New(slog.DiscardHandler),
	})
}

// newPod returns a pod with one container that mounts all the volumes.
func newPod(volumes ...v1.Volume) *v1.Pod {
	c := v1.Container{Name: "main"}
	for _, v := range volumes {
		c.VolumeMounts = append(c.VolumeMounts, v1.VolumeMount{Name: v.Name, MountPath: "/" + v.Name})
	}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "uid-1"},
		Spec:       v1.PodSpec{Volumes: volumes, Containers: []v1.Container{c}},
	}
}

func hostPath(path string, kind v1.HostPathType) v1.Volume {
	return v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: path, Type: &kind}}}
}

func emptyDir(src v1.EmptyDirVolumeSource) v1.Volume {
	return v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{EmptyDir: &src}}
}

// setup sets the one volume of p up and returns its path.
func setup(t *testing.T, v *Volumes, p *v1.Pod) string {
	t.Helper()
	paths, err := v.Setup(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return paths["v"].Path
}

// needRoot skips tests of owners and mounts where they cannot be made.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func modeOf(t *testing.T, path string) (mode os.FileMode, gid uint32) {
	t.Helper()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Mode() & (os.ModePerm | os.ModeSetgid | os.ModeSymlink), fi.Sys().(*syscall.Stat_t).Gid
}

func TestSetupRefuses(t *testing.T) {
	secret := v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s"}}
	token := v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{}},
	}}}
	escape := newPod(v1.Volume{Name: "v"})
	escape.UID = "../../etc"
	for name, tc := range map[string]struct {
		pod  *v1.Pod
		want string
	}{
		"kind":             {newPod(v1.Volume{Name: "v", VolumeSource: secret}), `MountVolume.SetUp failed for volume "v" : volumes of kind secret need an API server`},
		"projected kind":   {newPod(v1.Volume{Name: "v", VolumeSource: token}), `service account tokens need a pod of the API`},
		"medium":           {newPod(emptyDir(v1.EmptyDirVolumeSource{Medium: "HugePages"})), `medium HugePages: hugePages storage requested, but there is no resource request for huge pages`},
		"UID out of place": {escape, `"../../etc" cannot name a directory`},
		"name out of place": {
			newPod(v1.Volume{Name: "../v", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}),
			`"../v" cannot name a directory`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newVolumes(t).Setup(t.Context(), tc.pod)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSetupLeavesUnusedVolumesAlone(t *testing.T) {
	p := newPod()
	p.Spec.Volumes = []v1.Volume{hostPath("/does/not/exist", v1.HostPathDirectory)}
	paths, err := newVolumes(t).Setup(t.Context(), p)
	if err != nil || len(paths) != 0 {
		t.Errorf("got %v, %v", paths, err)
	}
}

func TestSetupMakesThePodDirectory(t *testing.T) {
	v := newVolumes(t)
	if _, err := v.Setup(t.Context(), newPod()); err != nil {
		t.Fatal(err)
	}
	if mode, _ := modeOf(t, filepath.Join(v.PodsDir, "uid-1")); mode != 0o750 {
		t.Errorf("mode %v", mode)
	}
}

func TestSetupReportsAllThatIsWrong(t *testing.T) {
	a, b := hostPath("/no/a", v1.HostPathFile), hostPath("/no/b", v1.HostPathDirectory)
	b.Name = "w"
	_, err := newVolumes(t).Setup(t.Context(), newPod(a, b))
	if err == nil || !strings.Contains(err.Error(), "/no/a") || !strings.Contains(err.Error(), "/no/b") {
		t.Errorf("error %v, want both", err)
	}
}

func TestEmptyDir(t *testing.T) {
	needRoot(t)
	for name, tc := range map[string]struct {
		group *int64
		mode  os.FileMode
		gid   uint32
	}{
		"plain":   {nil, 0o777, 0},
		"fsGroup": {new(int64(2000)), 0o777 | os.ModeSetgid, 2000},
	} {
		t.Run(name, func(t *testing.T) {
			v, p := newVolumes(t), newPod(emptyDir(v1.EmptyDirVolumeSource{}))
			p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: tc.group}
			dir := setup(t, v, p)
			if want := filepath.Join(v.PodsDir, "uid-1/volumes/kubernetes.io~empty-dir/v"); dir != want {
				t.Errorf("path %s, want %s", dir, want)
			}
			if mode, gid := modeOf(t, dir); mode != tc.mode || gid != tc.gid {
				t.Errorf("mode %v gid %d, want %v %d", mode, gid, tc.mode, tc.gid)
			}
			if mode, _ := modeOf(t, filepath.Join(v.PodsDir, "uid-1")); mode != 0o750 {
				t.Errorf("pod directory has mode %v", mode)
			}
			// What containers did with it stays.
			kept := filepath.Join(dir, "kept")
			if err := os.WriteFile(kept, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			setup(t, v, p)
			if _, err := os.Stat(kept); err != nil {
				t.Error(err)
			}
			if mode, _ := modeOf(t, dir); mode.Perm() != 0o700 {
				t.Errorf("mode %v was changed back", mode)
			}
		})
	}
}

func TestEmptyDirInMemory(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	size := resource.MustParse("64Mi")
	v, p := newVolumes(t), newPod(emptyDir(v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory, SizeLimit: &size}))
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(3000))}
	dir := setup(t, v, p)
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if got := int64(fs.Blocks) * fs.Bsize; fs.Type != unix.TMPFS_MAGIC || got != size.Value() {
		t.Errorf("file system %x of %d bytes", fs.Type, got)
	}
	if mode, gid := modeOf(t, dir); mode != 0o777|os.ModeSetgid || gid != 3000 {
		t.Errorf("mode %v gid %d", mode, gid)
	}
	// A second call mounts nothing over what is there.
	if err := os.WriteFile(filepath.Join(dir, "kept"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	setup(t, v, p)
	if _, err := os.Stat(filepath.Join(dir, "kept")); err != nil {
		t.Error(err)
	}
	if err := v.Teardown(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(v.PodsDir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestMemorySize(t *testing.T) {
	limit := v1.ResourceRequirements{Limits: v1.ResourceList{"memory": resource.MustParse("100Mi")}}
	for name, tc := range map[string]struct {
		size       string
		containers []v1.ResourceRequirements
		podLevel   *v1.ResourceRequirements
		want       string
	}{
		"node":               {containers: make([]v1.ResourceRequirements, 1), want: "1Gi"},
		"size limit":         {size: "10Mi", containers: []v1.ResourceRequirements{limit}, want: "10Mi"},
		"pod smaller":        {size: "300Mi", containers: []v1.ResourceRequirements{limit, limit}, want: "200Mi"},
		"one without limit":  {size: "300Mi", containers: []v1.ResourceRequirements{limit, {}}, want: "300Mi"},
		"more than the node": {size: "3Gi", containers: make([]v1.ResourceRequirements, 1), want: "1Gi"},
		"pod-level limit":    {containers: make([]v1.ResourceRequirements, 2), podLevel: &limit, want: "100Mi"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &v1.Pod{Spec: v1.PodSpec{Resources: tc.podLevel}}
			for _, r := range tc.containers {
				p.Spec.Containers = append(p.Spec.Containers, v1.Container{Resources: r})
			}
			src := &v1.EmptyDirVolumeSource{}
			if tc.size != "" {
				src.SizeLimit = new(resource.MustParse(tc.size))
			}
			want := resource.MustParse(tc.want)
			if got := newVolumes(t).memorySize(p, src); got != want.Value() {
				t.Errorf("got %d, want %d", got, want.Value())
			}
		})
	}
}

func TestHostPath(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(string) error{
		"dir":    func(p string) error { return os.Mkdir(p, 0o755) },
		"file":   func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"socket": func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		path string
		kind v1.HostPathType
		want string // "" is no error
	}{
		{"any/thing", v1.HostPathUnset, ""},
		{"dir", v1.HostPathDirectory, ""},
		{"dir", v1.HostPathDirectoryOrCreate, ""},
		{"new/dir", v1.HostPathDirectoryOrCreate, ""},
		{"file", v1.HostPathFile, ""},
		{"file", v1.HostPathFileOrCreate, ""},
		{"newfile", v1.HostPathFileOrCreate, ""},
		{"socket", v1.HostPathSocket, ""},
		{"missing", v1.HostPathDirectory, "hostPath type check failed: PATH is not a directory"},
		{"file", v1.HostPathDirectory, "hostPath type check failed: PATH is not a directory"},
		{"file", v1.HostPathDirectoryOrCreate, "hostPath type check failed: PATH is not a directory"},
		{"dir", v1.HostPathFile, "hostPath type check failed: PATH is not a file"},
		{"dir", v1.HostPathFileOrCreate, "hostPath type check failed: PATH is not a file"},
		{"missing/file", v1.HostPathFileOrCreate, "no such file or directory"},
		{"file", v1.HostPathSocket, "hostPath type check failed: PATH is not a socket file"},
		{"file", v1.HostPathCharDev, "hostPath type check failed: PATH is not a character device"},
		{"file", v1.HostPathBlockDev, "hostPath type check failed: PATH is not a block device"},
		{"dir", "Pipe", "Pipe is an invalid volume type"},
		{"dir/../file", v1.HostPathFile, "must not contain '..'"},
	} {
		t.Run(string(tc.kind)+" "+tc.path, func(t *testing.T) {
			path := dir + "/" + tc.path
			paths, err := newVolumes(t).Setup(t.Context(), newPod(hostPath(path, tc.kind)))
			want := strings.ReplaceAll(tc.want, "PATH", path)
			if tc.want == "" && (err != nil || paths["v"].Path != path) {
				t.Errorf("got %v, %v", paths, err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

func TestHostPathOfDevices(t *testing.T) {
	v := newVolumes(t)
	if _, err := v.Setup(t.Context(), newPod(hostPath("/dev/null", v1.HostPathCharDev))); err != nil {
		t.Error(err)
	}
	if _, err := v.Setup(t.Context(), newPod(hostPath("/dev/null", v1.HostPathBlockDev))); err == nil {
		t.Error("took a character device for a block device")
	}
}

func TestReapKeepsWhatIsWanted(t *testing.T) {
	v := newVolumes(t)
	for _, uid := range []types.UID{"a", "b", "c"} {
		p := newPod(emptyDir(v1.EmptyDirVolumeSource{}))
		p.UID = uid
		setup(t, v, p)
	}
	if err := v.Reap(t.Context(), func() map[types.UID]bool { return map[types.UID]bool{"b": true} }); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(v.PodsDir)
	if err != nil || len(left) != 1 || left[0].Name() != "b" {
		t.Errorf("left %v, %v", left, err)
	}
}
