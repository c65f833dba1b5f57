package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// The directory is heard of, not listed: it is gone, and with it its pods, at
// once; made again, they are back under the same UIDs.
func (s *standalone) directoryRemoved(t *testing.T) {
	p := hostPod("directory", box("c", "sleep", "infinity"))
	before := s.run(t, p)
	s.node.Remove(t, manifests)
	s.gone(t, p.Name)
	s.node.Run(t, "mkdir", manifests)
	s.put(t, p)
	if after := s.anew(t, before, "c"); after.UID != before.UID {
		t.Errorf("UID was %s and is %s", before.UID, after.UID)
	}
}

// loopKilled kills the loop and starts it while pods run, start and have ended.
func (s *standalone) loopKilled(t *testing.T) {
	p := newPod("survivor", box("main", "http", ":8080"))
	side := sidecar(box("side", "sleep", "infinity"))
	side.StartupProbe = unhurried(quick(execute("exec-ok")))
	p.Spec.InitContainers = []corev1.Container{box("init", "exit", "0"), side}
	p.Spec.Containers[0].ReadinessProbe = quick(httpGet(8080))
	before := s.run(t, p)
	crashed := s.run(t, hostPod("crashed", box("c", "sleep", "infinity")))
	s.crash(t, crashed, "c")
	s.until(t, "crashed", "restarted", restarted("c"))
	ended := hostPod("ended", box("c", "exit", "0"))
	ended.Spec.RestartPolicy = corev1.RestartPolicyNever
	s.put(t, ended)
	s.until(t, "ended", "ended", hasPhase(corev1.PodSucceeded))
	slow := hostPod("slow", box("main", "sleep", "infinity"))
	slow.Spec.InitContainers = []corev1.Container{box("init", "exit", "0", "after", "5s"), box("next", "exit", "0")}
	s.put(t, slow)
	s.until(t, "slow", "in its first init container", func(p *corev1.Pod) error {
		if c := statusOf(p, "init"); c.State.Running == nil && c.State.Terminated == nil { // on a slow machine it has ended by now
			return errNotRunning
		}
		return nil
	})
	s.kill(t)
	s.start(t)
	after := s.ready(t, "survivor")
	s.ready(t, "slow")
	s.barrier(t)
	if diff := cmp.Diff(ids(before), ids(after)); diff != "" {
		t.Errorf("containers of survivor (-before +after):\n%s", diff)
	}
	for name, want := range map[string][]string{
		"survivor": {"init started", "init stopped", "side started", "main started"},
		"crashed":  {"c started", "c stopped", "c started"},
		"ended":    {"c started", "c stopped"}, // SP-47 lets it start again, boot knows better
		"slow":     {"init started", "init stopped", "next started", "next stopped", "main started"},
	} {
		s.trace.expect(t, name+"-"+s.node.Name, want...)
	}
	s.crash(t, after, "main") // and it is looked after
	s.until(t, "survivor", "restarted", restarted("main"))
}

// What was removed while the loop was away ends, what was replaced is, and a
// manifest that has become bad still stands for its last good version.
func (s *standalone) changedWhileAway(t *testing.T) {
	pods := map[string]*corev1.Pod{}
	for _, name := range []string{"removed", "replaced", "moved", "spoilt", "same"} {
		p := hostPod("away-"+name, box("c", "sleep", "infinity"))
		pods[name] = p
		s.put(t, p)
	}
	before := map[string]*corev1.Pod{}
	for name, p := range pods {
		before[name] = s.ready(t, p.Name)
	}
	s.kill(t)
	s.node.Remove(t, manifestPath("away-removed"))
	pods["replaced"].Labels = map[string]string{"version": "2"}
	s.put(t, pods["replaced"])
	s.node.Rename(t, manifestPath("away-moved"), manifestPath("away-moved-to"))
	t.Cleanup(func() { s.node.Remove(t, manifestPath("away-moved-to")) })
	s.node.WriteFile(t, manifestPath("away-spoilt"), "kind: [")
	s.start(t)
	s.gone(t, "away-removed")
	s.replaced(t, before["replaced"])
	s.replaced(t, before["moved"])
	s.barrier(t)
	for _, name := range []string{"same", "spoilt"} { // SP-14
		if diff := cmp.Diff(ids(before[name]), ids(s.ready(t, "away-"+name))); diff != "" {
			t.Errorf("%s (-before +after):\n%s", name, diff)
		}
		s.trace.expect(t, before[name].Name, "c started")
	}
}
