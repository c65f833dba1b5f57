package status

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"boot.internal/kubelet/local"
)

var update = flag.Bool("update", false, "write golden files anew")

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// fine returns what is known of a control plane on which all is well.
func fine() *local.State {
	pod := func(name string) local.Pod {
		return local.Pod{
			Namespace: "kube-system", Name: name + "-cp1", UID: name, Static: true, State: local.Running, Ready: true,
			Since: ago(3*time.Hour + 12*time.Minute), Created: ago(3*time.Hour + 12*time.Minute),
		}
	}
	return &local.State{
		Node: "cp1", Boot: "v0.5.0", Kubernetes: "v1.37.2", PID: 123, Since: ago(3*time.Hour + 12*time.Minute), Registered: true,
		Labels:     []string{"kubernetes.io/hostname", "node-role.kubernetes.io/control-plane"},
		Conditions: []local.Condition{{Type: "MemoryPressure", Status: "False"}, {Type: "Ready", Status: "True"}},
		Engine:     local.Engine{Version: "containerd://2.4.2", Ready: true, NetworkReady: true},
		APIServers: []local.APIServer{{Address: "192.0.2.1:6443", Health: "ready", InUse: true}, {Address: "192.0.2.2:6443", Health: "ready"}},
		Pods: []local.Pod{
			pod("etcd"), pod("kube-apiserver"),
			{Namespace: "default", Name: "web", State: local.Running, Since: ago(time.Minute)},
		},
	}
}

// sources are those of a control plane on which all is well.
func sources(state *local.State) Sources {
	return Sources{
		Node:  "cp1",
		Begun: func() bool { return true },
		Loop:  func(context.Context) (*local.State, error) { return state, nil },
		Service: func(context.Context) (Service, error) {
			return Service{Kind: "systemd", Log: "journalctl -u boot-kubelet"}, nil
		},
		Engine: func(context.Context) Engine {
			return Engine{Healthy: true, Version: "containerd://2.4.2", Socket: "/run/boot/containerd.sock", Network: true}
		},
		Pods: func(context.Context) ([]local.Pod, error) { return state.Pods, nil },
		Ways: func(context.Context) []APIWay {
			return []APIWay{{Server: "https://127.0.0.1:7443", File: "/etc/kubernetes/kubelet.conf", OK: true}}
		},
		Etcd: func(context.Context) *Etcd {
			return &Etcd{Quorum: true, Members: []Member{{Name: "cp1", Role: "leader", Healthy: true}, {Name: "cp2", Role: "follower", Healthy: true}}}
		},
		Certificates: func() []Certificate {
			return []Certificate{
				{Name: "apiserver", NotAfter: now.Add(364 * 24 * time.Hour)},
				{Name: "etcd/server", NotAfter: now.Add(365 * 24 * time.Hour)},
				{Name: "ca", NotAfter: now.Add(3650 * 24 * time.Hour), Authority: true},
			}
		},
	}
}

// worlds are nodes to look at, by the names of their golden files.
func worlds() map[string]Sources {
	all := map[string]Sources{"fine": sources(fine())}

	crashing := fine()
	crashing.Pods[1].State, crashing.Pods[1].Restarts, crashing.Pods[1].Since = local.Crashing, 4, ago(12*time.Second)
	crashing.Pods[1].Failure = &local.Failure{Text: "exit code 1: listen tcp 0.0.0.0:6443: bind: address already in use, which is a long story to tell", At: ago(12 * time.Second)}
	crashing.Pods[2].State, crashing.Pods[2].Failure = local.Stuck, &local.Failure{Text: "ErrImagePull: not found"}
	crashing.Conditions[0].Status, crashing.Conditions[0].Message = "True", "kubelet has insufficient memory available"
	crashing.APIServers[0] = local.APIServer{Address: "192.0.2.1:6443", Health: "down", Reason: "connection refused"}
	crashing.Problems = []local.Problem{{Path: "/etc/kubernetes/manifests/x.yaml", Line: 12, Reason: "StaticPodKept", Message: "spec.containers[0].image: Required value", Kept: ago(time.Hour)}}
	s := sources(crashing)
	s.Ways = func(context.Context) []APIWay {
		return []APIWay{{Server: "https://127.0.0.1:7443", Error: "no answer within 1.5s"}}
	}
	s.Etcd = func(context.Context) *Etcd {
		return &Etcd{Error: "no majority", Members: []Member{{Name: "cp1", Role: "follower", Healthy: true}, {Name: "cp2", Error: "connection refused"}}}
	}
	s.Certificates = func() []Certificate {
		return []Certificate{{Name: "etcd-peer", Trouble: "there is no certificate in it"}, {Name: "apiserver", NotAfter: ago(25 * time.Hour)}, {Name: "admin.conf", NotAfter: now.Add(9 * 24 * time.Hour), Trouble: "it should have been renewed 60d ago"}}
	}
	all["everything"] = s

	s = sources(fine())
	s.Loop = func(context.Context) (*local.State, error) { return nil, local.ErrNotRunning }
	all["no-loop"] = s

	strange := fine()
	strange.Registered, strange.Rotation = false, &local.Rotation{Stage: "1/trust", Trouble: "1/trust: etcd is ill"}
	all["not-registered"] = sources(strange)

	s.Engine = func(context.Context) Engine {
		return Engine{Socket: "/run/boot/containerd.sock", Error: "connection refused"}
	}
	all["nothing-runs"] = s

	s.Begun = func() bool { return false }
	all["no-node"] = s
	return all
}

func TestScreen(t *testing.T) {
	verdicts := map[string]Verdict{"fine": OK, "everything": Degraded, "no-loop": LoopDown, "not-registered": Degraded, "nothing-runs": LoopDown, "no-node": NoNode}
	for name, s := range worlds() {
		t.Run(name, func(t *testing.T) {
			s.now = func() time.Time { return now }
			r := Look(t.Context(), s)
			if r.Verdict != verdicts[name] {
				t.Errorf("verdict %s, want %s", r.Verdict, verdicts[name])
			}
			got := Screen(r, 80, func(_ Tone, text string) string { return text })
			for line := range strings.Lines(got) {
				if len([]rune(line)) > 81 {
					t.Errorf("too long: %s", line)
				}
			}
			golden(t, filepath.Join("testdata", name+".txt"), got+"----\n"+strings.Join(r.Wrong, "\n")+"\n")
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Whoever does not answer does not keep the others from being seen.
func TestLookEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sources(fine())
		s.Loop = func(ctx context.Context) (*local.State, error) { <-ctx.Done(); return nil, ctx.Err() }
		s.Etcd = func(ctx context.Context) *Etcd { <-ctx.Done(); return &Etcd{Error: "no answer"} }
		begin := time.Now()
		r := Look(t.Context(), s)
		if took := time.Since(begin); took != limit || r.Verdict != LoopDown || len(r.Certificates) == 0 {
			t.Errorf("after %s: %+v", took, r)
		}
		if r.Loop.Error != context.DeadlineExceeded.Error() {
			t.Errorf("loop: %s", r.Loop.Error)
		}
	})
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 70 * time.Second: "1m10s", 11 * time.Minute: "11m",
		3*time.Hour + 2*time.Minute: "3h02m", 49 * time.Hour: "2d",
	} {
		if got := Short(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

// What a container said last is that of the newest instance that said anything.
func TestLastWords(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"9.log": "2026-01-02T03:04:05.6Z stderr F first\n2026-01-02T03:04:05.7Z stderr F last words\n", "10.log": "", "2.log": "old",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := local.Pod{State: local.Crashing, Failure: &local.Failure{Text: "exit code 1", Container: "c"}, Containers: []local.Container{{Name: "c", LogDir: dir}}}
	addLastWords(&p)
	if want := "exit code 1: last words"; p.Failure.Text != want {
		t.Errorf("%q, want %q", p.Failure.Text, want)
	}
}
