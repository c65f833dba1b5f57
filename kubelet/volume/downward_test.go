package volume

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/nstest"
)

func field(path, fieldPath string) v1.DownwardAPIVolumeFile {
	return v1.DownwardAPIVolumeFile{Path: path, FieldRef: &v1.ObjectFieldSelector{FieldPath: fieldPath}}
}

func limit(container, name, divisor string) v1.DownwardAPIVolumeFile {
	return v1.DownwardAPIVolumeFile{Path: "f", ResourceFieldRef: &v1.ResourceFieldSelector{
		ContainerName: container, Resource: name, Divisor: resource.MustParse(divisor),
	}}
}

func downward(items ...v1.DownwardAPIVolumeFile) v1.Volume {
	return v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: items}}}
}

// labelled returns a pod with labels, annotations and resources.
func labelled(volumes ...v1.Volume) *v1.Pod {
	p := newPod(volumes...)
	p.Labels = map[string]string{"b": "2", "a": "one \"1\"\n"}
	p.Annotations = map[string]string{"x/y": "z"}
	p.Spec.Containers[0].Resources = v1.ResourceRequirements{
		Limits:   v1.ResourceList{"cpu": resource.MustParse("1500m"), "memory": resource.MustParse("100Mi")},
		Requests: v1.ResourceList{"memory": resource.MustParse("1")},
	}
	p.Spec.InitContainers = []v1.Container{{Name: "bare"}}
	return p
}

// content returns the files users see in a volume.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	tops, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, top := range tops {
		if strings.HasPrefix(top.Name(), "..") {
			continue
		}
		target, err := filepath.EvalSymlinks(filepath.Join(dir, top.Name()))
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(target, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			got[top.Name()+strings.TrimPrefix(path, target)] = string(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func TestDownwardValues(t *testing.T) {
	items := map[string]struct {
		item v1.DownwardAPIVolumeFile
		want string
	}{
		"name":               {field("f", "metadata.name"), "p"},
		"namespace":          {field("f", "metadata.namespace"), "ns"},
		"uid":                {field("f", "metadata.uid"), "uid-1"},
		"labels":             {field("f", "metadata.labels"), `a="one \"1\"\n"` + "\n" + `b="2"`},
		"annotations":        {field("f", "metadata.annotations"), `x/y="z"`},
		"one label":          {field("f", "metadata.labels['b']"), "2"},
		"one annotation":     {field("f", "metadata.annotations['x/y']"), "z"},
		"missing label":      {field("f", "metadata.labels['none']"), ""},
		"cpu limit":          {limit("main", "limits.cpu", "0"), "2"},
		"cpu limit in milli": {limit("main", "limits.cpu", "1m"), "1500"},
		"memory limit in Mi": {limit("main", "limits.memory", "1Mi"), "100"},
		"rounded up":         {limit("main", "requests.memory", "1Ki"), "1"},
		"no request":         {limit("main", "requests.cpu", "1"), "0"},
		"limit of the node":  {limit("bare", "limits.memory", "1Mi"), "1024"},
	}
	for name, tc := range items {
		t.Run(name, func(t *testing.T) {
			got := content(t, setup(t, newVolumes(t), labelled(downward(tc.item))))
			if diff := cmp.Diff(map[string]string{"f": tc.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDownwardRefuses(t *testing.T) {
	for want, item := range map[string]v1.DownwardAPIVolumeFile{
		`field path "status.podIP" is not supported`: field("f", "status.podIP"),
		`field path "metadata.x['y']" is not`:        field("f", "metadata.x['y']"),
		`pod has no container "other"`:               limit("other", "limits.cpu", "1"),
		`resource "limits.gpu" is not supported`:     limit("main", "limits.gpu", "1"),
		`resource "cpu" is not supported`:            limit("main", "cpu", "1"),
		`neither fieldRef nor resourceFieldRef`:      {Path: "f"},
		`path "../f" cannot be in a volume`:          field("../f", "metadata.name"),
		`path "..data/f" cannot be in a volume`:      field("..data/f", "metadata.name"),
		`path "/etc/passwd" cannot be in a volume`:   field("/etc/passwd", "metadata.name"),
	} {
		_, err := newVolumes(t).Setup(t.Context(), labelled(downward(item)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestProjected(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	vol := v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{
		DefaultMode: new(int32(0o400)),
		Sources: []v1.VolumeProjection{
			{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{field("a/name", "metadata.name"), field("uid", "metadata.uid")}}},
			{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{field("a/ns", "metadata.namespace"), field("uid", "metadata.name")}}},
		},
	}}}
	v := newVolumes(t)
	unmountLater(t, v)
	dir := setup(t, v, labelled(vol))
	want := map[string]string{"a/name": "p", "a/ns": "ns", "uid": "p"}
	if diff := cmp.Diff(want, content(t, dir)); diff != "" {
		t.Error(diff)
	}
	if mode, _ := modeOf(t, filepath.Join(dir, "..data/uid")); mode != 0o400 {
		t.Errorf("mode %v", mode)
	}
}

func TestDownwardFollowsThePod(t *testing.T) {
	v := newVolumes(t)
	p := labelled(downward(field("labels", "metadata.labels"), field("annotations", "metadata.annotations")))
	dir := setup(t, v, p)
	first, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil {
		t.Fatal(err)
	}

	setup(t, v, p)
	if again, _ := os.Readlink(filepath.Join(dir, "..data")); again != first {
		t.Errorf("rewrote unchanged files: %s, %s", first, again)
	}

	open, err := os.Open(filepath.Join(dir, "..data")) // a reader in the middle
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	changed := p.DeepCopy()
	changed.Labels = map[string]string{"c": "3"}
	changed.Spec.Volumes[0].DownwardAPI.Items[1].Path = "notes"
	setup(t, v, changed)
	want := map[string]string{"labels": `c="3"`, "notes": `x/y="z"`}
	if diff := cmp.Diff(want, content(t, dir)); diff != "" {
		t.Error(diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 4 { // ..data, its directory and two links
		t.Errorf("left behind: %v", entries)
	}
}

func TestPublishPutsRightWhatACrashLeft(t *testing.T) {
	v := newVolumes(t)
	p := labelled(downward(field("labels", "metadata.labels"), field("name", "metadata.name")))
	dir := setup(t, v, p)
	want := content(t, dir)
	for name, damage := range map[string]func() error{
		"lost file":      func() error { return os.Remove(filepath.Join(dir, "..data/name")) },
		"torn file":      func() error { return os.Truncate(filepath.Join(dir, "..data/labels"), 1) },
		"extra file":     func() error { return os.WriteFile(filepath.Join(dir, "..data/extra"), nil, 0o600) },
		"wrong mode":     func() error { return os.Chmod(filepath.Join(dir, "..data/name"), 0o777) },
		"lost link":      func() error { return os.Remove(filepath.Join(dir, "labels")) },
		"lost data link": func() error { return os.Remove(filepath.Join(dir, "..data")) },
		"half a change":  func() error { return os.Symlink("..gone", filepath.Join(dir, "..data_tmp")) },
		"old directory":  func() error { return os.Mkdir(filepath.Join(dir, "..2006_01_02_15_04_05.1"), 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			setup(t, v, p)
			if diff := cmp.Diff(want, content(t, dir)); diff != "" {
				t.Error(diff)
			}
			entries, _ := os.ReadDir(dir)
			if len(entries) != 4 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

func TestDownwardOwnership(t *testing.T) {
	needRoot(t)
	p := labelled(downward(field("d/labels", "metadata.labels")))
	p.Spec.Volumes[0].DownwardAPI.DefaultMode = new(int32(0o400))
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(2000))}
	dir := setup(t, newVolumes(t), p)
	data, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]os.FileMode{
		"":                 0o777 | os.ModeSetgid,
		data:               0o755 | os.ModeSetgid,
		data + "/d":        0o755 | os.ModeSetgid,
		data + "/d/labels": 0o440,
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if mode, gid := modeOf(t, filepath.Join(dir, path)); mode != want[path] || gid != 2000 {
			t.Errorf("%q has mode %v and gid %d, want %v and 2000", path, mode, gid, want[path])
		}
	}
}
