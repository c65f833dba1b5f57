package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"boot.internal/e2e/internal/lab"
)

// boot kubelet runs what is in its directory, with nothing but files, an engine
// and a kernel.
func TestStandalone(t *testing.T) {
	s := newStandalone(t)
	t.Run("drop-ins", s.dropIns)
	t.Run("files", func(t *testing.T) { s.files(t) })
	t.Run("containers", func(t *testing.T) { s.containers(t) })
	t.Run("probes", func(t *testing.T) { s.probes(t) })
	t.Run("network", func(t *testing.T) { s.network(t) })
	// What follows is about all pods at once.
	t.Run("SP-20 directory removed and made again", s.directoryRemoved)
	t.Run("IC-25 loop killed and started", s.loopKilled)
	t.Run("SP-46 manifests changed while the loop was away", s.changedWhileAway)
}

// parallel runs tests that do not get in each other's way.
func parallel(t *testing.T, tests map[string]func(t *testing.T)) {
	t.Helper()
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}
}

func (s *standalone) files(t *testing.T) {
	parallel(t, map[string]func(t *testing.T){
		"SP-37 SP-38 SP-39 changes":         s.changes,
		"SP-16 nothing but looks":           s.looks,
		"SP-17 rename":                      s.renames,
		"SP-18 another pod in the file":     s.anotherName,
		"SP-19 duplicates":                  s.duplicates,
		"SP-14 broken":                      s.broken,
		"SP-15 half-written":                s.halfWritten,
		"SP-3 SP-4 SP-5 names":              s.names,
		"SP-44 removal takes the grace":     s.removal,
		"SP-42 SP-43 the same content back": s.sameAgain,
		"SP-40 fixed UID":                   s.fixedUID,
	})
}

// The new version starts only once the old one is gone; what was never the
// newest never starts.
func (s *standalone) changes(t *testing.T) {
	p := hostPod("changes", lingers(box("c", "sleep", "infinity"), "1h")) // which ends when it is killed below
	p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](3600)
	old := s.run(t, p)
	if want := "changes-" + s.node.Name; old.Name != want || old.Namespace != "default" || old.Spec.NodeName != s.node.Name { // SP-23
		t.Errorf("pod is %s/%s on %q, want default/%s", old.Namespace, old.Name, old.Spec.NodeName, want)
	}
	p = hostPod("changes", box("c", "sleep", "infinity"))
	for _, version := range []string{"2", "3"} { // the third comes before the first has ended
		p.Labels = map[string]string{"version": version}
		s.put(t, p)
		s.until(t, "changes", "wanted in version "+version, ofVersion(version))
	}
	s.crash(t, old, "c")
	now := s.until(t, "changes", "replaced", podReady)
	events := s.trace.upTo(t, now)
	if diff := cmp.Diff([]string{string(old.UID), string(now.UID)}, s.trace.uids(now.Name)); diff != "" {
		t.Errorf("UIDs (-want +got):\n%s", diff)
	}
	first := slices.IndexFunc(events, func(e traced) bool { return e.uid == string(now.UID) })
	late := func(e traced) bool { return e.uid == string(old.UID) && e.what != "sandbox stopped" } // of which there is no time
	if slices.ContainsFunc(events[first:], late) {
		t.Errorf("the new one started before the old one was gone: %v", events)
	}
}

// ofVersion returns a check that a pod is of the version that its label names.
func ofVersion(version string) func(p *corev1.Pod) error {
	return func(p *corev1.Pod) error {
		if got := p.Labels["version"]; got != version {
			return fmt.Errorf("it is of version %q", got)
		}
		return nil
	}
}

func (s *standalone) looks(t *testing.T) {
	p := hostPod("looks", box("c", "sleep", "infinity"))
	p.Labels = map[string]string{"a": "1", "b": "2"}
	before := s.run(t, p)
	events := s.trace.upTo(t, before)
	file, text := manifestPath("looks"), text(t, p)
	s.node.WriteFile(t, file, text)
	s.node.Run(t, "touch", file)
	s.node.Run(t, "chmod", "644", file)
	s.writeInPlace(t, file, text)
	s.node.WriteFile(t, file, "# a comment\n"+text+"\n# another\n")
	reordered := strings.Replace(text, "  labels:\n    a: \"1\"\n    b: \"2\"\n", "  labels: {b: \"2\", a: '1'}\n", 1)
	if reordered == text {
		t.Fatal("nothing was reordered in\n" + text)
	}
	s.node.WriteFile(t, file, reordered)
	s.barrier(t)
	after := s.ready(t, "looks")
	if after.UID != before.UID {
		t.Errorf("UID was %s and is %s", before.UID, after.UID)
	}
	if diff := cmp.Diff(events, s.trace.of(before.Name), cmp.AllowUnexported(traced{})); diff != "" {
		t.Errorf("something happened:\n%s", diff)
	}
}

func (s *standalone) renames(t *testing.T) {
	old := s.run(t, hostPod("renames", box("c", "sleep", "infinity")))
	s.node.Rename(t, manifestPath("renames"), manifestPath("renamed"))
	t.Cleanup(func() { s.node.Remove(t, manifestPath("renamed")) })
	now := s.replaced(t, old)
	if containerID(t, now, "c") == containerID(t, old, "c") {
		t.Error("the container was not restarted")
	}
}

func (s *standalone) anotherName(t *testing.T) {
	p := hostPod("name-before", box("c", "sleep", "infinity"))
	s.run(t, p)
	file := manifestPath(p.Name)
	p.Name = "name-after"
	s.node.WriteFile(t, file, text(t, p))
	s.gone(t, "name-before")
	s.ready(t, "name-after")
}

func (s *standalone) duplicates(t *testing.T) {
	first, second := hostPod("duplicate", box("c", "sleep", "infinity")), hostPod("duplicate", box("c", "sleep", "infinity"))
	second.Labels = map[string]string{"file": "second"}
	s.putText(t, manifestPath("dup-b"), text(t, second))
	lost := s.ready(t, "duplicate")
	s.putText(t, manifestPath("dup-a"), text(t, first)) // lexically first, so it wins whoever came first
	won := s.until(t, "duplicate", "taken over", func(p *corev1.Pod) error {
		if p.Labels["file"] != "" {
			return errors.New("it is from the second file")
		}
		return podReady(p)
	})
	s.log.says(t, "dup-b.yaml", "already defined by", "dup-a.yaml")
	ofWinner := func(events []traced) []traced { // the end of the other may still be told
		return slices.DeleteFunc(events, func(e traced) bool { return e.uid == string(lost.UID) && !strings.HasSuffix(e.what, "created") })
	}
	events := ofWinner(s.trace.upTo(t, won))
	s.node.Run(t, "touch", manifestPath("dup-b"))
	s.node.Remove(t, manifestPath("dup-b"))
	s.barrier(t)
	if diff := cmp.Diff(events, ofWinner(s.trace.of(won.Name)), cmp.AllowUnexported(traced{})); diff != "" {
		t.Errorf("the one that lost was not left alone:\n%s", diff)
	}
	s.node.WriteFile(t, manifestPath("dup-b"), text(t, second))
	s.node.Remove(t, manifestPath("dup-a"))
	s.replaced(t, won)
}

func (s *standalone) broken(t *testing.T) {
	p := hostPod("broken", box("c", "sleep", "infinity"))
	before := s.run(t, p)
	file := manifestPath(p.Name)
	events := s.trace.upTo(t, before)
	for bad, words := range map[string]string{
		"apiVersion: v1\nkind: Pod\nmetadata: {name: broken\n":                                                     file + ":",
		"apiVersion: v1\nkind: Pod\nmetadata:\n  name: broken\nspec:\n  containers:\n  - name: c\n    imagge: x\n": file + ":8",
		text(t, p) + "---\n" + text(t, p):                                                                          file, // SP-9
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: broken}":                                                file, // SP-11
	} {
		s.node.WriteFile(t, file, bad)
		s.log.says(t, words)
	}
	s.barrier(t)
	if diff := cmp.Diff(events, s.trace.of(before.Name), cmp.AllowUnexported(traced{})); diff != "" {
		t.Errorf("the last good version was not left alone:\n%s", diff)
	}
	p.Labels = map[string]string{"fixed": "yes"}
	s.put(t, p)
	s.replaced(t, before)
}

// writeInPlace writes a file the way editors do that know no better.
func (s *standalone) writeInPlace(t testing.TB, file string, parts ...string) {
	t.Helper()
	err := s.node.Do(func() error {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		for _, part := range parts {
			if _, err = f.WriteString(part); err != nil {
				break
			}
		}
		return errors.Join(err, f.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A writer that stops in the middle, and even closes, ends nothing.
func (s *standalone) halfWritten(t *testing.T) {
	p := hostPod("half", box("c", "sleep", "infinity"))
	before := s.run(t, p)
	events := s.trace.upTo(t, before)
	p.Labels = map[string]string{"version": "2"}
	file, text := manifestPath("half"), text(t, p)
	for _, part := range []string{"", text[:10], text[:len(text)/2]} {
		s.writeInPlace(t, file, part)
	}
	s.barrier(t)
	if diff := cmp.Diff(events, s.trace.of(before.Name), cmp.AllowUnexported(traced{})); diff != "" {
		t.Errorf("half a file did something:\n%s", diff)
	}
	var fd int
	if err := s.node.Do(func() (err error) {
		fd, err = unix.Open(file, unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), file)
	half := len(text) / 2
	if _, err := f.WriteString(text[:half]); err != nil {
		t.Fatal(err)
	}
	s.barrier(t)
	if diff := cmp.Diff(events, s.trace.of(before.Name), cmp.AllowUnexported(traced{})); diff != "" {
		t.Errorf("half a file did something:\n%s", diff)
	}
	if _, err := f.WriteString(text[half:]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.replaced(t, before)
}

func (s *standalone) names(t *testing.T) {
	for _, file := range []string{".hidden.yaml", "backup.yaml~", "backup.yaml.bak", "README", ".#swap.yaml"} {
		name := "named-" + strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' {
				return r
			}
			return -1
		}, file)
		s.putText(t, manifests+"/"+file, text(t, hostPod(name, box("c", "sleep", "infinity"))))
	}
	s.node.Run(t, "mkdir", "-p", manifests+"/directory.yaml", "/etc/elsewhere")
	t.Cleanup(func() { s.node.Remove(t, manifests+"/directory.yaml") })
	s.node.WriteFile(t, manifests+"/directory.yaml/x.yaml", text(t, hostPod("named-below", box("c", "sleep", "infinity"))))
	s.node.WriteFile(t, "/etc/elsewhere/linked.yaml", text(t, hostPod("linked", box("c", "sleep", "infinity"))))
	s.node.Run(t, "ln", "-s", "/etc/elsewhere/linked.yaml", manifests+"/linked.yaml")
	t.Cleanup(func() { s.node.Remove(t, manifests+"/linked.yaml") })
	s.ready(t, "linked")
	s.log.says(t, "backup.yaml.bak", "no manifest by its name")
	s.log.says(t, "directory.yaml", "directory")
	s.barrier(t)
	s.trace.mu.Lock()
	defer s.trace.mu.Unlock()
	for _, e := range s.trace.events {
		if strings.HasPrefix(e.pod, "named-") {
			t.Errorf("%+v", e)
		}
	}
}

func (s *standalone) removal(t *testing.T) {
	stubborn := hostPod("stubborn", box("c", "trap-term", "1h"))
	stubborn.Spec.TerminationGracePeriodSeconds = ptr.To[int64](3)
	polite := mount(hostPod("polite", box("c", "trap-term", "100ms")), hostDir("/tmp/polite"))
	polite.Spec.TerminationGracePeriodSeconds = nil // 30 s (SP-27)
	hook := corev1.LifecycleHandler{Exec: execute("write", "/data/hook", "ran").Exec}
	polite.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &hook}
	s.put(t, stubborn)
	s.put(t, polite)
	running, up := s.ready(t, "polite"), s.ready(t, "stubborn")
	for _, p := range []*corev1.Pod{running, up} {
		s.exec(t, p, "c", "exec-ok") // so by now the first process there takes signals, too
	}
	start := time.Now()
	s.node.Remove(t, manifestPath("stubborn"), manifestPath("polite"))
	s.gone(t, "polite")
	s.log.says(t, running.Name, "kill c (pod removed, grace 30s)")
	if end := s.trace.await(t, running, "c stopped"); end.code != 0 {
		t.Errorf("what ends when it is asked to was killed: %+v", end)
	}
	if got := s.node.ReadFile(t, "/tmp/polite/hook"); got != "ran\n" {
		t.Errorf("the hook wrote %q", got)
	}
	lab.Until(t, patience, "see its directory gone", func(context.Context) error {
		if dir := "/var/lib/kubelet/pods/" + string(running.UID); s.node.Exists(t, dir) {
			return fmt.Errorf("%s is there", dir)
		}
		return nil
	})
	s.gone(t, "stubborn")
	s.log.says(t, up.Name, "kill c (pod removed, grace 3s)")
	if end := s.trace.await(t, up, "c stopped"); end.code != 137 || end.at.Sub(start) < 3*time.Second {
		t.Errorf("what does not end was given %s of the grace of 3s: %+v", end.at.Sub(start), end)
	}
}

func (s *standalone) sameAgain(t *testing.T) {
	p := hostPod("again", box("c", "sleep", "infinity"))
	before := s.run(t, p)
	s.node.Remove(t, manifestPath("again"))
	s.gone(t, "again")
	s.put(t, p)
	after := s.anew(t, before, "c")
	if after.UID != before.UID {
		t.Errorf("UID was %s and is %s", before.UID, after.UID)
	}
	if got := statusOf(after, "c").RestartCount; got != 1 {
		t.Errorf("restarted %d times, want 1", got)
	}
}

func (s *standalone) fixedUID(t *testing.T) {
	p := hostPod("fixed", box("kept", "sleep", "infinity"), box("changed", "sleep", "1h"))
	p.UID = types.UID("11111111-2222-3333-4444-555555555555")
	before := s.run(t, p)
	if before.UID != p.UID { // SP-22
		t.Errorf("UID is %s", before.UID)
	}
	p.Spec.Containers[1].Args = []string{"sleep", "2h"}
	s.put(t, p)
	after := s.anew(t, before, "changed")
	if containerID(t, after, "kept") != containerID(t, before, "kept") {
		t.Error("what did not change was restarted too")
	}
}
