package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"boot.internal/journal"
	"boot.internal/nstest"
	"boot.internal/process"
)

// only runs the phases of this name and returns the changes made and what was
// warned of.
func (s *site) only(name string) (changes, warnings []string, err error) {
	s.t.Helper()
	return s.try(Runner{Skip: func(step string) bool { return !within(step, name) }})
}

func TestResetWithoutAnInit(t *testing.T) {
	t.Run("leaves what is somebody else's", func(t *testing.T) {
		s := newSite(t)
		s.write("etc/kubernetes/pki/ca.key", "etc/kubernetes/admin.conf", "etc/kubernetes/manifests/etcd.yaml",
			"var/lib/etcd/member/wal/0", "var/lib/kubelet/pods/1/etc-hosts", "var/log/pods/a/0.log", "run/xtables.lock")
		before := s.files()
		if changes, _ := s.reset(Runner{}); len(changes) > 0 {
			t.Errorf("changed %q", changes)
		}
		if diff := cmp.Diff(before, s.files()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("removes what boot kubelet has left", func(t *testing.T) {
		s := newSite(t)
		s.write("etc/kubernetes/pki/ca.key", "run/boot/kubelet.lock", "var/lib/kubelet/pods/1/etc-hosts", "var/log/pods/a/0.log")
		s.reset(Runner{})
		want := []string{"cleanup-node/files: remove /var/log/pods", "cleanup-node/files: remove /var/lib/kubelet"}
		if !exists(filepath.Join(s.root, "etc/kubernetes/pki/ca.key")) || exists(s.o.Dirs.Kubelet) || exists(s.o.Dirs.PodLogs) || exists(s.o.Dirs.Run) {
			t.Errorf("want %q, is %v", want, s.files())
		}
	})
	t.Run("goes by the loop's configuration where init's first phase was skipped", func(t *testing.T) {
		s := newSite(t)
		before := s.files()
		s.node()
		s.o.Purge = true
		if err := os.RemoveAll(filepath.Join(s.root, "sys")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(s.root, "proc")); err != nil {
			t.Fatal(err)
		}
		s.reset(Runner{})
		if diff := cmp.Diff(before, s.files()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestResetTwiceSparesTheUsersCA(t *testing.T) {
	s := newSite(t)
	s.found()
	s.node()
	for range 2 {
		s.reset(Runner{})
		if !exists(filepath.Join(s.root, "etc/kubernetes/pki/ca.crt")) {
			t.Fatal("the CA is gone")
		}
	}
}

func TestResetTellsWhatStays(t *testing.T) {
	s := newSite(t)
	s.note()
	s.node()
	s.write("etc/kubernetes/manifests/mine.yaml", "var/lib/etcd/snapshot.db")
	_, warnings := s.reset(Runner{})
	want := []string{
		"cleanup-node/etcd: /var/lib/etcd stays, with what boot did not put there: snapshot.db",
		"cleanup-node/kubernetes: /etc/kubernetes/manifests stays, with what boot did not put there: mine.yaml",
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"etc/kubernetes/manifests/mine.yaml", "var/lib/etcd/snapshot.db"} {
		if !exists(filepath.Join(s.root, name)) {
			t.Errorf("%s is gone", name)
		}
	}
}

func TestResetOfCertificatesElsewhere(t *testing.T) {
	elsewhere := func(t *testing.T) *site {
		s := newSite(t)
		s.o.Config.CertificatesDir = filepath.Join(s.root, "srv/pki")
		s.node() // with the manifest that leads there
		s.write("srv/pki/ca.crt", "srv/pki/ca.key", "srv/pki/etcd/ca.crt", "srv/pki/sa.pub", "srv/pki/notes")
		return s
	}
	left := func(s *site) (names []string) {
		for name := range s.files() {
			if strings.HasPrefix(name, "/srv/pki/") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	t.Run("removes what boot made", func(t *testing.T) {
		s := elsewhere(t)
		s.note(foundPath("srv/pki"), foundPath("srv/pki/ca.crt"))
		s.reset(Runner{})
		if got := left(s); !slices.Equal(got, []string{"/srv/pki/ca.crt", "/srv/pki/notes"}) {
			t.Errorf("left %q", got)
		}
	})
	t.Run("keeps it all where nothing tells", func(t *testing.T) {
		s := elsewhere(t)
		_, warnings := s.reset(Runner{})
		if len(left(s)) != 6 || len(warnings) != 1 || !strings.Contains(warnings[0], "certificates in /srv/pki are kept") {
			t.Errorf("left %q, warned of %q", left(s), warnings)
		}
	})
	t.Run("keeps a directory that the API server does not use", func(t *testing.T) {
		s := elsewhere(t)
		s.note()
		s.o.Config.CertificatesDir = filepath.Join(s.root, "srv/other")
		s.write("srv/other/ca.key")
		_, warnings := s.reset(Runner{})
		if !exists(filepath.Join(s.root, "srv/other/ca.key")) || len(warnings) == 0 || !strings.Contains(warnings[0], "/srv/other are kept") {
			t.Errorf("warned of %q", warnings)
		}
	})
}

func TestResetOfLoopbackNotes(t *testing.T) {
	s := newSite(t)
	s.write("var/lib/cni/results/cni-loopback-ours-lo", "var/lib/cni/results/cni-loopback-theirs-lo",
		"var/lib/boot/containerd/io.containerd.grpc.v1.cri/sandboxes/ours/")
	changes, _, err := s.only("cleanup-node/network")
	if want := []string{"cleanup-node/network: remove /var/lib/cni/results/cni-loopback-ours-lo"}; err != nil || !slices.Equal(changes, want) {
		t.Errorf("%v, changed %q", err, changes)
	}
}

func TestResetOfWhatCannotBeRead(t *testing.T) {
	t.Run("manifest", func(t *testing.T) {
		s := newSite(t)
		s.node()
		s.put("etc/kubernetes/manifests/etcd.yaml", "spec: [")
		_, _, err := s.only("cleanup-node/etcd")
		wantError(t, err, "etcd.yaml", "put it right")
		if !exists(filepath.Join(s.root, "var/lib/etcd/member")) {
			t.Error("the data is gone")
		}
	})
	t.Run("journal", func(t *testing.T) {
		s := newSite(t)
		s.node()
		s.put("var/lib/boot/journal.json", "{")
		for _, name := range []string{"cleanup-node/certs", "cleanup-node/host"} {
			_, _, err := s.only(name)
			wantError(t, err, "journal.json", "spared")
		}
	})
}

func TestKernelSettings(t *testing.T) {
	s := newSite(t)
	s.put("proc/sys/a/b", "2\n")
	s.put("proc/sys/a/same", "5\n")
	s.write("sys/module/used/", "sys/module/free/")
	s.note(
		journal.Entry{Kind: journal.Sysctl, Name: "a.b", Was: "1"}, journal.Entry{Kind: journal.Sysctl, Name: "a.same", Was: "5"},
		journal.Entry{Kind: journal.Module, Name: "free"}, journal.Entry{Kind: journal.Module, Name: "used"},
		journal.Entry{Kind: journal.Module, Name: "unloaded"},
	)
	unload := s.o.host.modprobe
	s.o.host.modprobe = func(ctx context.Context, args ...string) error {
		if args[1] == "used" {
			return errors.New("module is in use")
		}
		return unload(ctx, args...)
	}
	changes, warnings, err := s.only("cleanup-node/host")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"cleanup-node/host: set a.b back to 1",
		"cleanup-node/host: unload kernel module used", "cleanup-node/host: unload kernel module free",
	}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Error(diff)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "used stays loaded: module is in use") {
		t.Errorf("warned of %q", warnings)
	}
	if have, err := s.o.host.read("proc/sys/a/b"); have != "1" || err != nil {
		t.Errorf("a.b is %q, %v", have, err)
	}
}

// TestMounts is about real ones, in namespaces of its own.
func TestMounts(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	t.Run("what pods have mounted goes", testUnmount)
	t.Run("nothing is removed through a mount", testRemoveStopsAtMounts)
	t.Run("a disk of its own is emptied", testDisksAreEmptied)
	t.Run("a link is emptied", testLinksAreEmptied)
}

// mount mounts a file system in memory, or another directory.
func (s *site) mount(name, other string) string {
	s.t.Helper()
	path := filepath.Join(s.root, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	var err error
	if other == "" {
		err = unix.Mount("tmpfs", path, "tmpfs", 0, "size=1m")
	} else {
		err = unix.Mount(other, path, "", unix.MS_BIND, "")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) }) // most are gone by then
	return path
}

func testUnmount(t *testing.T) {
	s := newSite(t)
	s.o.Config.UnmountFlags = []string{"UMOUNT_NOFOLLOW"}
	s.write("hosts/file", "run/boot/netns/cni-1")
	kubelet := s.mount("var/lib/kubelet", "") // a disk of its own
	volume := s.mount("var/lib/kubelet/pods/1/volumes/a", "")
	s.mount("var/lib/kubelet/pods/1/volumes/a/below", filepath.Join(s.root, "hosts"))
	s.mount("var/lib/kubelet/pods/1/volumes/a", "") // once more on top
	images := s.mount("var/lib/boot/images", "")
	if err := unix.Mount("/proc/self/ns/net", filepath.Join(s.root, "run/boot/netns/cni-1"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	busy := s.mount("run/boot/busy", "")
	held, err := os.Create(filepath.Join(busy, "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()

	changes, _, err := s.only("cleanup-node/mounts")
	if err != nil || len(changes) != 5 {
		t.Errorf("%v, changed %q", err, changes)
	}
	if i, j := slices.Index(changes, "cleanup-node/mounts: unmount /var/lib/kubelet/pods/1/volumes/a/below"),
		slices.Index(changes, "cleanup-node/mounts: unmount /var/lib/kubelet/pods/1/volumes/a"); i < 0 || j < 0 {
		t.Errorf("changed %q", changes)
	}
	for path, want := range map[string]bool{kubelet: true, images: true, volume: false, busy: false} {
		if in, err := mountsIn(path); err != nil || slices.Contains(in, path) != want {
			t.Errorf("%s is mounted: %v, want %v; %v", path, !want, want, err)
		}
	}
	if !exists(filepath.Join(s.root, "hosts/file")) {
		t.Error("a file of the host is gone")
	}
}

func testRemoveStopsAtMounts(t *testing.T) {
	s := newSite(t)
	s.note()
	s.write("hosts/file")
	s.mount("var/lib/kubelet/pods/1/volumes/a", filepath.Join(s.root, "hosts"))
	_, _, err := s.only("cleanup-node/files")
	wantError(t, err, "pods/1/volumes/a is mounted there", "unmount it")
	if !exists(filepath.Join(s.root, "hosts/file")) {
		t.Error("a file of the host is gone")
	}
}

func testDisksAreEmptied(t *testing.T) {
	s := newSite(t)
	s.o.Purge = true
	s.note()
	disks := []string{s.mount("var/lib/etcd", ""), s.mount("var/lib/kubelet", ""), s.mount("var/log/pods", "")}
	images := s.mount("var/lib/boot/images", "")
	s.node()
	s.reset(Runner{})
	for _, disk := range disks {
		if entries, err := os.ReadDir(disk); len(entries) > 0 || err != nil {
			t.Errorf("in %s there is %v, %v", disk, entries, err)
		}
	}
	if !exists(filepath.Join(images, "bundle.tar.zst")) {
		t.Error("a disk with images is empty")
	}
	if again, _ := s.reset(Runner{}); len(again) > 0 {
		t.Errorf("again: %q", again)
	}
}

func testLinksAreEmptied(t *testing.T) {
	s := newSite(t)
	s.note()
	s.write("data/kubelet/")
	if err := os.Symlink(filepath.Join(s.root, "data/kubelet"), s.o.Dirs.Kubelet); err != nil {
		t.Fatal(err)
	}
	s.node()
	s.mount("data/kubelet/pods/1/volumes/a", "")
	s.reset(Runner{})
	if entries, err := os.ReadDir(s.o.Dirs.Kubelet); len(entries) > 0 || err != nil {
		t.Errorf("there is %v, %v", entries, err)
	}
}

// TestPodCgroups is about real ones, with processes in them.
func TestPodCgroups(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	s := newSite(t)
	s.write("run/boot/")
	group := "/" + nstest.Cgroup() + "/kubepods"
	roots, err := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if err != nil || len(roots) == 0 { // version 2 alone
		roots = []string{"/sys/fs/cgroup/cgroup.procs"}
	}
	id := sleeper(t)
	for _, root := range roots {
		dir := filepath.Join(filepath.Dir(root), group, "burstable/pod1")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Appendf(nil, "%d", id.PID), 0)
		if err != nil && !errors.Is(err, unix.ENOSPC) { // one that has no CPUs yet
			t.Fatal(err)
		}
	}
	s.o.Cgroups = []PodCgroup{{group, func() error { return removeCgroups(group) }}, {"/none.slice", nil}}
	if strays, err := (reset{s.o, nil}).strays(); err != nil || !slices.Equal(strays, []process.ID{id}) {
		t.Errorf("strays %v, %v; want %v", strays, err, id)
	}
	s.reset(Runner{})
	if dirs, err := cgroupDirs(group); id.Alive() || len(dirs) > 0 || err != nil {
		t.Errorf("process alive: %v, left %v, %v", id.Alive(), dirs, err)
	}
	t.Run("of others are not touched", func(t *testing.T) {
		s := newSite(t)
		s.o.Cgroups = []PodCgroup{{"/", func() error { t.Error("cleaned"); return nil }}}
		if strays, err := (reset{s.o, nil}).strays(); err != nil || len(strays) > 0 {
			t.Errorf("strays %v, %v", strays, err)
		}
		if changes, _ := s.reset(Runner{}); len(changes) > 0 {
			t.Errorf("changed %q", changes)
		}
	})
}

// removeCgroups stands for kubelet/cgroup.
func removeCgroups(group string) error {
	dirs, err := cgroupDirs(group)
	if err != nil {
		return err
	}
	var all []string
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, path)
			}
			return nil
		})
	}
	for _, dir := range slices.Backward(all) {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}
