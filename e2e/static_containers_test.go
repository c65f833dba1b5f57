package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"boot.internal/e2e/internal/lab"
)

func (s *standalone) containers(t *testing.T) {
	parallel(t, map[string]func(t *testing.T){
		"SP-43 crash":                      s.crashes,
		"SP-47 IC-40 what ends":            s.ends,
		"IC-4 IC-5 IC-6 start order":       s.startOrder,
		"IC-13 init container fails":       s.initFails,
		"IC-14 IC-18 sidecar":              s.sidecars,
		"IC-33 sidecars stop last":         s.stopOrder,
		"SP-29 emptyDir from init to main": s.emptyDir,
		"SP-29 hostPath and downwardAPI":   s.volumesOfTheNode,
		"IC-45 termination message":        s.terminationMessage,
	})
}

func (s *standalone) crashes(t *testing.T) {
	p := s.run(t, hostPod("crash", box("c", "sleep", "infinity"), box("other", "sleep", "infinity")))
	s.crash(t, p, "c")
	after := s.until(t, "crash", "restarted", restarted("c"))
	if last := statusOf(after, "c").LastTerminationState.Terminated; last == nil || last.ExitCode != 137 {
		t.Errorf("last state is %+v, want exit code 137", last)
	}
	if containerID(t, after, "other") != containerID(t, p, "other") || after.UID != p.UID {
		t.Error("the other container was restarted too")
	}
	if got := s.trace.uids(p.Name); len(got) != 1 {
		t.Errorf("UIDs %v", got)
	}
}

func (s *standalone) ends(t *testing.T) {
	for name, c := range map[string]struct {
		policy corev1.RestartPolicy
		args   []string
		want   corev1.PodPhase
	}{
		"done":    {corev1.RestartPolicyNever, []string{"exit", "0"}, corev1.PodSucceeded},
		"failed":  {corev1.RestartPolicyNever, []string{"exit", "3"}, corev1.PodFailed},
		"retried": {corev1.RestartPolicyOnFailure, []string{"exit", "0", "after", "100ms"}, corev1.PodSucceeded},
	} {
		p := hostPod("ends-"+name, box("c", c.args...))
		p.Spec.RestartPolicy = c.policy
		s.put(t, p)
		ended := s.until(t, p.Name, "ended", hasPhase(c.want))
		if got := statusOf(ended, "c"); got.RestartCount != 0 || got.State.Terminated == nil {
			t.Errorf("%s: %s", name, brief(ended))
		}
	}
	again := hostPod("ends-again", box("c", "exit", "1"))
	again.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	s.put(t, again)
	s.until(t, again.Name, "restarted", func(p *corev1.Pod) error {
		if c := statusOf(p, "c"); c.RestartCount < 1 {
			return errors.New("it was not")
		}
		return nil
	})
	s.barrier(t)
	for _, name := range []string{"done", "failed", "retried"} {
		s.trace.expect(t, "ends-"+name+"-"+s.node.Name, "c started", "c stopped")
	}
}

// One init container after the other; sidecars once they have started; then the
// regular ones in the order of the manifest.
func (s *standalone) startOrder(t *testing.T) {
	p := newPod("order", box("main", "sleep", "infinity"), box("second", "sleep", "infinity"))
	web := sidecar(box("web", "http", ":8080", "--ready-file", "/data/ready"))
	web.StartupProbe = unhurried(quick(httpGet(8080)))
	p.Spec.InitContainers = []corev1.Container{
		box("first", "exit", "0", "after", "300ms"), web, box("last", "get", "http://127.0.0.1:8080/healthz"),
	}
	mount(p, hostDir("/tmp/order"))
	s.put(t, p)
	s.until(t, "order", "with a sidecar that has not started", func(p *corev1.Pod) error {
		c := statusOf(p, "web")
		if c.State.Running == nil {
			return errors.New("the sidecar does not run")
		}
		if c.Started == nil || *c.Started {
			return errors.New("the sidecar counts as started")
		}
		return hasPhase(corev1.PodPending)(p) // IC-38
	})
	s.barrier(t)
	s.trace.expect(t, "order-"+s.node.Name, "first started", "first stopped", "web started") // IC-6
	s.node.WriteFile(t, "/tmp/order/ready", "")
	up := s.ready(t, "order")
	s.trace.expect(t, up.Name, "first started", "first stopped", "web started",
		"last started", "last stopped", "main started", "second started")
	if !condition(up, corev1.PodInitialized) { // IC-41
		t.Errorf("not initialised: %s", brief(up))
	}
}

func (s *standalone) initFails(t *testing.T) {
	p := hostPod("init-fails", box("main", "sleep", "infinity"))
	p.Spec.InitContainers = []corev1.Container{box("init", "exit", "1")}
	s.put(t, p)
	once := hostPod("init-fails-once", box("main", "sleep", "infinity"))
	once.Spec.InitContainers = []corev1.Container{box("init", "exit", "7")}
	once.Spec.RestartPolicy = corev1.RestartPolicyNever
	s.put(t, once)
	tried := s.until(t, "init-fails", "tried three times", func(p *corev1.Pod) error {
		if c := statusOf(p, "init"); c.RestartCount < 2 || c.State.Waiting == nil || c.State.Waiting.Reason != "CrashLoopBackOff" {
			return errors.New("it was not")
		}
		return hasPhase(corev1.PodPending)(p)
	})
	s.node.Remove(t, manifestPath("init-fails"))
	s.gone(t, "init-fails")
	var starts, stops []time.Time
	lab.Until(t, patience, "be told of three tries", func(context.Context) error {
		starts, stops = nil, nil
		for _, e := range s.trace.of(tried.Name) {
			switch e.what {
			case "init started":
				starts = append(starts, e.at)
			case "init stopped":
				stops = append(stops, e.at)
			case "main started":
				t.Error("the main container started")
			}
		}
		if len(starts) < 3 || len(stops) < 2 {
			return fmt.Errorf("init started at %v and stopped at %v: %v", starts, stops, s.trace.of(tried.Name))
		}
		return nil
	})
	if wait := starts[2].Sub(stops[1]); wait < 2*time.Second {
		t.Errorf("the third try came %s after the second, want the back-off of 2s", wait)
	}
	if got := statusOf(tried, "init").State.Waiting.Message; !strings.HasPrefix(got, "back-off 2s ") { // 40s, were it not for the configuration
		t.Errorf("it waits for %s", got)
	}
	failed := s.until(t, "init-fails-once", "failed", hasPhase(corev1.PodFailed))
	s.trace.expect(t, failed.Name, "init started", "init stopped")
}

func (s *standalone) sidecars(t *testing.T) {
	p := newPod("sidecar", box("main", "http", ":8080"))
	p.Spec.Containers[0].ReadinessProbe = quick(httpGet(8080)) // by then it takes signals, too
	p.Spec.InitContainers = []corev1.Container{sidecar(box("side", "sleep", "infinity"))}
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	before := s.run(t, p)
	s.crash(t, before, "side")
	after := s.until(t, "sidecar", "with its sidecar restarted", restarted("side"))
	if containerID(t, after, "main") != containerID(t, before, "main") {
		t.Error("the main container was restarted too")
	}
	// The sidecar keeps no pod alive whose work is done, and does not fail it.
	signalContainer(t, s.node, s.cri, containerID(t, after, "main"), syscall.SIGTERM)
	s.until(t, "sidecar", "succeeded", hasPhase(corev1.PodSucceeded))
}

func (s *standalone) stopOrder(t *testing.T) {
	p := newPod("stop-order", lingers(box("main", "http", ":8080"), "500ms"))
	p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](3600) // nobody is killed
	p.Spec.InitContainers = []corev1.Container{
		sidecar(box("outer", "http", ":8081")), sidecar(box("inner", "http", ":8082")),
	}
	// Once they answer, they end when they are asked to.
	p.Spec.InitContainers[0].StartupProbe = unhurried(quick(httpGet(8081)))
	p.Spec.InitContainers[1].StartupProbe = unhurried(quick(httpGet(8082)))
	p.Spec.Containers[0].ReadinessProbe = quick(httpGet(8080))
	up := s.run(t, p)
	s.node.Remove(t, manifestPath("stop-order"))
	s.gone(t, "stop-order")
	s.trace.expect(t, up.Name, "outer started", "inner started", "main started",
		"main stopped", "inner stopped", "outer stopped")
}

func (s *standalone) emptyDir(t *testing.T) {
	p := newPod("seed", box("web", "http", ":8080", "--ready-file", "/data/seed.txt"), box("client", "sleep", "infinity"))
	p.Spec.InitContainers = []corev1.Container{box("seed", "write", "/data/seed.txt", "from init")}
	mount(p, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	p.Spec.Containers[0].ReadinessProbe = quick(httpGet(8080))
	up := s.run(t, p)
	for _, c := range []string{"web", "client"} {
		if got := s.exec(t, up, c, "cat", "/data/seed.txt"); got != "from init" {
			t.Errorf("%s reads %q", c, got)
		}
	}
	if got := s.exec(t, up, "client", "get", "http://127.0.0.1:8080/healthz"); got != "ok" { // containers share a network
		t.Errorf("the other container answers %q", got)
	}
	s.crash(t, up, "web")
	s.until(t, "seed", "restarted", restarted("web"))
	if got := s.exec(t, s.ready(t, "seed"), "web", "cat", "/data/seed.txt"); got != "from init" {
		t.Errorf("after a restart it reads %q", got)
	}
	s.trace.expect(t, up.Name, "seed started", "seed stopped", "web started", "client started", // IC-8
		"web stopped", "web started")
}

func (s *standalone) volumesOfTheNode(t *testing.T) {
	p := newPod("volumes", box("c", "sleep", "infinity"))
	p.Labels = map[string]string{"colour": "green"}
	p.Spec.Volumes = []corev1.Volume{{Name: "info", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
		Items: []corev1.DownwardAPIVolumeFile{
			{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
			{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}},
		},
	}}}}
	c := &p.Spec.Containers[0]
	c.VolumeMounts = []corev1.VolumeMount{{Name: "info", MountPath: "/info"}}
	for name, field := range map[string]string{"NODE": "spec.nodeName", "NODE_IP": "status.hostIP", "POD_IP": "status.podIP", "POD": "metadata.name", "UID": "metadata.uid"} {
		c.Env = append(c.Env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}})
	}
	s.node.Run(t, "mkdir", "-p", "/tmp/from-host")
	s.node.WriteFile(t, "/tmp/from-host/greeting", "hello\n")
	up := s.run(t, mount(p, hostDir("/tmp/from-host")))
	for args, want := range map[string]string{
		"cat /data/greeting": "hello", "cat /info/labels": `colour="green"`, "cat /info/name": up.Name,
		"env NODE": s.node.Name, "env NODE_IP": s.node.IP.String(), "env POD_IP": up.Status.PodIP, "env POD": up.Name, "env UID": string(up.UID),
	} {
		if got := s.exec(t, up, "c", strings.Fields(args)...); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	s.exec(t, up, "c", "write", "/data/answer", "to the host")
	if got := s.node.ReadFile(t, "/tmp/from-host/answer"); got != "to the host\n" {
		t.Errorf("the host reads %q", got)
	}
}

func (s *standalone) terminationMessage(t *testing.T) {
	p := hostPod("message", box("file", "write", "/dev/termination-log", "the last words"), box("log", "cat", "/no/such/file"))
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.Containers[1].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	p.Spec.Containers[1].TerminationMessagePath = "/dev/other"
	p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](1)
	s.put(t, p)
	ended := s.until(t, "message", "ended", hasPhase(corev1.PodFailed))
	for name, want := range map[string]string{"file": "the last words", "log": "no such file"} {
		if got := statusOf(ended, name).State.Terminated; got == nil || !strings.Contains(got.Message, want) {
			t.Errorf("%s: %+v, want %q", name, got, want)
		}
	}
}
