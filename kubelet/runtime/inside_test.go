package runtime_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/runtime/suite"
)

// testInside asks containers what they find: what only a real runtime makes of
// the messages.
func testInside(t *testing.T, w *suite.World) {
	p := &v1.Pod{}
	p.Name, p.Namespace, p.UID = "inside", "suite", "uid-inside"
	p.Spec.Hostname, p.Spec.Subdomain = "front", "tier"
	p.Spec.DNSPolicy = v1.DNSNone
	p.Spec.DNSConfig = &v1.PodDNSConfig{Nameservers: []string{"192.0.2.53"}, Searches: []string{"a.test"}}
	p.Spec.HostAliases = []v1.HostAlias{{IP: "192.0.2.7", Hostnames: []string{"db"}}}
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(3000)), SupplementalGroups: []int64{4000}}
	p.Spec.Containers = []v1.Container{
		asks("env", "env"), asks("hosts", "cat", "/etc/hosts"), asks("dns", "cat", "/etc/resolv.conf"),
		asks("hostname", "cat", "/proc/sys/kernel/hostname"), asks("id", "id"), asks("score", "cat", "/proc/self/oom_score_adj"),
	}
	p.Spec.Containers[0].Env = []v1.EnvVar{
		{Name: "IP", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
		{Name: "URL", Value: "http://$(IP)"},
	}
	p.Spec.Containers[4].SecurityContext = &v1.SecurityContext{
		RunAsUser: new(int64(1000)), RunAsGroup: new(int64(2000)), AllowPrivilegeEscalation: new(false),
		Capabilities: &v1.Capabilities{Drop: []v1.Capability{"ALL"}},
	}
	said := runAll(t, w, p)
	ip := said["ip"]
	for name, want := range map[string]string{
		"env":      "IP=" + ip + "\nURL=http://" + ip + "\n",
		"hosts":    ip + "\tfront.tier.suite.svc.cluster.local\tfront\n\n# Entries added by HostAliases.\n192.0.2.7\tdb\n",
		"dns":      "search a.test\nnameserver 192.0.2.53\n",
		"hostname": "front\n",
		"id":       "Uid:\t1000\t1000\t1000\t1000\nGid:\t2000\t2000\t2000\t2000\nGroups:\t2000 3000 4000 \nCapPrm:\t0000000000000000\n",
		"score":    "1000\n",
	} {
		if !strings.Contains(said[name], want) {
			t.Errorf("%s says\n%s\nwithout\n%s", name, said[name], want)
		}
	}
	if !strings.Contains(said["id"], "NoNewPrivs:\t1\n") {
		t.Errorf("id says\n%s", said["id"])
	}
}

func asks(name string, args ...string) v1.Container {
	return v1.Container{Name: name, Image: testImage, Args: args}
}

// runAll runs the containers of p to their end and returns what each of them
// wrote, and the pod's address under "ip". Then it removes the pod.
func runAll(t *testing.T, w *suite.World, p *v1.Pod) map[string]string {
	t.Helper()
	do(t, w, p, pod.CreateSandbox{})
	sandbox := observe(t, w, p).Sandboxes[0]
	said := map[string]string{"ip": strings.Join(sandbox.IPs, ",")}
	for _, c := range p.Spec.Containers {
		do(t, w, p, pod.StartContainer{Name: c.Name, Sandbox: sandbox})
		said[c.Name] = logOf(t, await(t, w, p, c.Name, pod.Exited).LogPath)
	}
	do(t, w, p, pod.StopSandbox{ID: sandbox.ID}, pod.RemoveSandbox{ID: sandbox.ID})
	return said
}

func do(t *testing.T, w *suite.World, p *v1.Pod, actions ...pod.Action) {
	t.Helper()
	for _, a := range actions {
		if err := w.Runtime.Do(t.Context(), p, a); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	}
}

func observe(t *testing.T, w *suite.World, p *v1.Pod) pod.Observed {
	t.Helper()
	have, err := w.Runtime.Observe(t.Context(), pod.KeyOf(p))
	if err != nil {
		t.Fatal(err)
	}
	return have
}

// await looks until the named container is in a state.
func await(t *testing.T, w *suite.World, p *v1.Pod, name string, state pod.State) pod.Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		have, err := w.Runtime.Observe(ctx, pod.KeyOf(p))
		if c, ok := have.NewestOf(p.UID, name); ok && c.State == state {
			return c
		}
		if ctx.Err() != nil {
			t.Fatalf("container %s is not %s: %+v, %v", name, state, have, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// logOf returns what a container wrote, without the dressing of the log.
func logOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(line, " ", 4)
		if len(parts) < 4 {
			t.Fatalf("not a line of a log: %q", line)
		}
		out.WriteString(parts[3])
	}
	return out.String()
}

// awaitStream makes events until one is heard of: then the stream is open.
func awaitStream(t *testing.T, pokes <-chan pod.Key, event func(n uint32)) {
	t.Helper()
	for n := range uint32(30) {
		event(n)
		select {
		case <-pokes:
			return
		case <-time.After(time.Second):
		}
	}
	t.Fatal("no event is heard of")
}

// testRestart restarts containerd: containers run on, actions fail and then
// work again, and the event stream comes back by itself.
func testRestart(t *testing.T, d *daemon, w *suite.World) {
	p := &v1.Pod{}
	p.Name, p.Namespace, p.UID = "survivor", "suite", "uid-survivor"
	p.Spec.Containers = []v1.Container{asks("a", "log", "2", "every", "1h"), asks("b", "exit", "0")}
	do(t, w, p, pod.CreateSandbox{})
	sandbox := observe(t, w, p).Sandboxes[0]
	do(t, w, p, pod.StartContainer{Name: "a", Sandbox: sandbox})
	before := await(t, w, p, "a", pod.Running)

	ctx, cancel := context.WithCancel(t.Context())
	pokes, done := make(chan pod.Key, 1000), make(chan error, 1)
	go func() { done <- w.Runtime.Events(ctx, func(n runtime.News) { pokes <- n.Key }) }()
	awaitStream(t, pokes, func(n uint32) { do(t, w, p, pod.StartContainer{Name: "b", Sandbox: sandbox, Attempt: n}) })
	d.stop(t)
	for len(pokes) > 0 {
		<-pokes
	}
	if _, err := w.Runtime.Observe(ctx, pod.KeyOf(p)); err == nil {
		t.Error("a runtime that is gone answered")
	}
	d.start(t)
	if after := await(t, w, p, "a", pod.Running); after.ID != before.ID || !after.StartedAt.Equal(before.StartedAt) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	deadline := time.After(2 * time.Minute)
	for range 2 { // the stream is back, and then there is an event
		select {
		case k := <-pokes:
			if k != pod.KeyOf(p) {
				t.Errorf("poke of %s", k)
			}
		case <-deadline:
			t.Fatal("no event after the restart")
		}
		do(t, w, p, pod.StartContainer{Name: "b", Sandbox: sandbox, Attempt: uint32(len(observe(t, w, p).Containers))})
	}
	do(t, w, p, pod.KillContainer{Name: "a", ID: before.ID, Grace: time.Minute})
	if c := await(t, w, p, "a", pod.Exited); c.ExitCode != 0 || !slices.Contains(w.Events.Of(p), "Killing") {
		t.Errorf("%+v, events %q", c, w.Events.Of(p))
	}
	do(t, w, p, pod.StopSandbox{ID: sandbox.ID}, pod.RemoveSandbox{ID: sandbox.ID})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
