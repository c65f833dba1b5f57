package cgroup

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// newPod returns a pod of the class, whose containers ask for cpu and memory
// and may use that, too, if they are guaranteed.
func newPod(uid string, class v1.PodQOSClass, cpu, memory string) *v1.Pod {
	r := v1.ResourceRequirements{}
	if class != v1.PodQOSBestEffort {
		r.Requests = v1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse(memory)}
	}
	if class == v1.PodQOSGuaranteed {
		r.Limits = r.Requests
	}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: uid, UID: types.UID(uid)},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", Resources: r}}},
		Status:     v1.PodStatus{QOSClass: class},
	}
}

// newOptions returns options with a logger that writes to log.
func newOptions(driver Driver, root string, log *bytes.Buffer) Options {
	return Options{
		Driver: driver, Root: root,
		Allocatable: v1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("1Gi")},
		PodPids:     100,
		QOS:         func(p *v1.Pod) v1.PodQOSClass { return p.Status.QOSClass },
		Logger:      slog.New(slog.NewTextHandler(log, nil)),
	}
}

// A unified is a directory that looks like the hierarchy of version 2, but that
// its files are only where the test made them.
func newUnified(t *testing.T, controllers string, groups ...string) (string, []hierarchy) {
	t.Helper()
	dir := t.TempDir()
	h := hierarchy{dir: dir, unified: true, has: map[string]bool{}}
	for c := range strings.FieldsSeq(controllers) {
		h.has[c] = true
	}
	for _, g := range append(groups, ".") {
		at := filepath.Join(dir, g)
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		files := []string{"cgroup.subtree_control"}
		for c, names := range map[string][]string{"cpu": {"cpu.weight", "cpu.max"}, "memory": {"memory.max", "memory.min", "memory.low", "memory.high"}, "pids": {"pids.max"}} {
			if h.has[c] {
				files = append(files, names...)
			}
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(at, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir, []hierarchy{h}
}

// values returns what was written to the files of a group.
func values(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 {
			got[e.Name()] = string(data)
		}
	}
	return got
}

func TestCreateUnified(t *testing.T) {
	dir, trees := newUnified(t, "cpu memory pids", "kubepods/burstable/podb", "kubepods/besteffort/pode", "kubepods/podg")
	for _, class := range []string{"kubepods", "kubepods/burstable", "kubepods/besteffort"} {
		for _, f := range []string{"cgroup.subtree_control", "cpu.weight", "memory.max", "memory.min", "memory.low"} {
			if err := os.WriteFile(filepath.Join(dir, class, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, err := newOn(newOptions(CgroupFS, "/", new(bytes.Buffer)), trees)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		pod  *v1.Pod
		want string
	}{
		{newPod("b", v1.PodQOSBurstable, "1", "100Mi"), "/kubepods/burstable/podb"},
		{newPod("e", v1.PodQOSBestEffort, "", ""), "/kubepods/besteffort/pode"},
		{newPod("g", v1.PodQOSGuaranteed, "1500m", "100Mi"), "/kubepods/podg"},
	} {
		for range 2 {
			parent, err := c.Create(tc.pod)
			if err != nil || parent != tc.want {
				t.Fatalf("parent %s, %v; want %s", parent, err, tc.want)
			}
		}
	}
	const all = "+cpu +memory +pids"
	for group, want := range map[string]map[string]string{
		".":                        {"cgroup.subtree_control": all},
		"kubepods":                 {"cgroup.subtree_control": all, "cpu.weight": "174", "memory.max": "1073741824", "memory.min": "0", "memory.low": "0"},
		"kubepods/burstable":       {"cgroup.subtree_control": all, "cpu.weight": "100", "memory.low": "0"},
		"kubepods/besteffort":      {"cgroup.subtree_control": all, "cpu.weight": "1"},
		"kubepods/burstable/podb":  {"cpu.weight": "100", "pids.max": "100"},
		"kubepods/besteffort/pode": {"cpu.weight": "1", "pids.max": "100"},
		"kubepods/podg":            {"cpu.weight": "138", "cpu.max": "150000 100000", "memory.max": "104857600", "pids.max": "100"},
	} {
		if diff := cmp.Diff(want, values(t, filepath.Join(dir, group))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", group, diff)
		}
	}
}

// D11: what the host lacks is said once, by name, and pods run without.
func TestMissingControllers(t *testing.T) {
	log := new(bytes.Buffer)
	_, trees := newUnified(t, "cpu memory", "kubepods/podg")
	c, err := newOn(newOptions(CgroupFS, "/", log), trees)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Create(newPod("g", v1.PodQOSGuaranteed, "1", "100Mi")); err != nil {
			t.Fatal(err)
		}
	}
	// pids is not there at all; cpu and memory did not reach the groups above.
	for _, controller := range []string{"cpu", "memory", "pids"} {
		if n := strings.Count(log.String(), "controller="+controller); n != 1 {
			t.Errorf("%s named %d times in %s", controller, n, log)
		}
	}
}

func TestUIDThatCannotNameAGroup(t *testing.T) {
	_, trees := newUnified(t, "cpu")
	c, err := newOn(newOptions(CgroupFS, "/", new(bytes.Buffer)), trees)
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{"", "../../x"} {
		if _, err := c.Create(newPod(uid, v1.PodQOSBestEffort, "", "")); err == nil {
			t.Errorf("made a group for %q", uid)
		}
		if err := c.Remove(types.UID(uid)); err == nil {
			t.Errorf("removed a group for %q", uid)
		}
	}
}

// onHost returns Cgroups in a group of the test's own on this host.
func onHost(t *testing.T) *Cgroups {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if there, err := os.ReadDir(defaultMountpoint); err != nil || len(there) == 0 {
		t.Skip("no control groups are mounted")
	}
	c, err := New(newOptions(CgroupFS, fmt.Sprintf("/boot-test-%d", os.Getpid()), new(bytes.Buffer)))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(c.trees, func(h hierarchy) bool { return h.has["cpu"] }) {
		t.Skip("host has no CPU controller")
	}
	t.Cleanup(func() {
		if err := c.Clean(); err != nil {
			t.Error(err)
		}
		if left := c.onDisk("/" + strings.Trim(c.Root, "/")); len(left) > 0 {
			t.Errorf("left behind %v", left)
		}
	})
	return c
}

// onDisk returns the directories of a group in all hierarchies.
func (c *Cgroups) onDisk(path string) []string {
	var dirs []string
	for _, h := range c.trees {
		if isDir(h.join(path)) {
			dirs = append(dirs, h.join(path))
		}
	}
	return dirs
}

// read returns the values that are set in a group on this host, as settings.
func (c *Cgroups) read(t *testing.T, path string, l limits) (want, got map[string]string) {
	t.Helper()
	want, got = map[string]string{}, map[string]string{}
	for _, h := range c.trees {
		for _, s := range l.settings(h.unified, c.QuotaPeriod) {
			if !h.has[s.controller] {
				continue
			}
			data, err := os.ReadFile(filepath.Join(h.join(path), s.file))
			if err != nil {
				t.Fatal(err)
			}
			want[s.file], got[s.file] = s.value, strings.TrimSpace(string(data))
		}
	}
	return want, got
}

func TestOnHost(t *testing.T) {
	c := onHost(t)
	guaranteed, burstable := newPod("g", v1.PodQOSGuaranteed, "1500m", "100Mi"), newPod("b", v1.PodQOSBurstable, "250m", "10Mi")
	for _, p := range []*v1.Pod{guaranteed, burstable, newPod("b2", v1.PodQOSBurstable, "500m", "10Mi"), newPod("e", v1.PodQOSBestEffort, "", "")} {
		parent, err := c.Create(p)
		if err != nil {
			t.Fatal(err)
		}
		want, got := c.read(t, parent, c.limitsOf(p, c.QOS(p)))
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s (-want +got):\n%s", parent, diff)
		}
	}
	class := c.path(c.classOf(v1.PodQOSBurstable))
	if want, got := c.read(t, class, limits{shares: 256 + 512}); !maps.Equal(want, got) {
		t.Errorf("burstable pods have %v, want %v", got, want)
	}
	if err := c.Remove("b2"); err != nil {
		t.Fatal(err)
	}
	if want, got := c.read(t, class, limits{shares: 256}); !maps.Equal(want, got) {
		t.Errorf("burstable pods have %v after one is gone, want %v", got, want)
	}
	// What a restart of boot does not know of is reaped, in all hierarchies.
	other, err := New(c.Options)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range other.trees { // as the runtime makes them, all of them
		if err := os.MkdirAll(h.join(c.path(c.podName(v1.PodQOSBestEffort, "e").child("container"))), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Reap(func() map[types.UID]bool { return map[types.UID]bool{"g": true, "b": true} }); err != nil {
		t.Fatal(err)
	}
	for uid, p := range map[string]name{
		"g": c.podName(v1.PodQOSGuaranteed, "g"), "b": c.podName(v1.PodQOSBurstable, "b"), "e": c.podName(v1.PodQOSBestEffort, "e"),
	} {
		if dirs := c.onDisk(c.path(p)); (len(dirs) == 0) != (uid == "e") {
			t.Errorf("%s is at %v", uid, dirs)
		}
	}
}

func TestRemoveKillsNothing(t *testing.T) {
	c := onHost(t)
	parent, err := c.Create(newPod("g", v1.PodQOSGuaranteed, "1", "100Mi"))
	if err != nil {
		t.Fatal(err)
	}
	sleeper := exec.CommandContext(t.Context(), "sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(sleeper.Process.Pid)
	for _, dir := range c.onDisk(parent) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(pid), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = c.Remove("g")
	if err == nil || !strings.Contains(err.Error(), "it has processes ["+pid+"]") {
		t.Errorf("error %v", err)
	}
	if err := sleeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = sleeper.Wait() // it was killed
	if err := c.Remove("g"); err != nil {
		t.Error(err)
	}
	if dirs := c.onDisk(parent); len(dirs) > 0 {
		t.Errorf("left %v", dirs)
	}
}

// A group that went away, whoever took it, is made again.
func TestCreateAgain(t *testing.T) {
	c := onHost(t)
	p := newPod("g", v1.PodQOSGuaranteed, "1", "100Mi")
	parent, err := c.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range c.onDisk(parent) {
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Create(p); err != nil {
		t.Fatal(err)
	}
	if want, got := c.read(t, parent, c.limitsOf(p, c.QOS(p))); !maps.Equal(want, got) {
		t.Errorf("got %v, want %v", got, want)
	}
}
