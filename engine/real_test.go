package engine

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/backoff"
	"boot.internal/nstest"
	"boot.internal/process"
)

// node is a real engine with its defaults, on a node of its own.
func node(t *testing.T) *Engine {
	t.Helper()
	e, err := Find(t.Context(), Options{
		Archive: File(nstest.Engine(t)), Mode: Bundled,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	// Containers end before the node does, so that nothing keeps its cgroup.
	t.Cleanup(func() { killContainers(t) })
	return e
}

func killContainers(t *testing.T) {
	all, err := process.All(func(id process.ID) bool { return id.PID != os.Getpid() })
	if err != nil {
		t.Error(err)
	}
	for _, id := range all {
		if err := id.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	for _, id := range all {
		if err := id.Wait(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func mustStart(t *testing.T, e *Engine) process.ID {
	t.Helper()
	id, err := e.ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustImportPause(t *testing.T, e *Engine) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(nstest.Image(t, "pause"), filepath.Join(dir, "pause.tar")); err != nil {
		t.Fatal(err)
	}
	if err := e.NewImporter(dir, nil).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRealStartAdoptStop(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	begin := time.Now()
	first := mustStart(t, e)
	t.Logf("unpacked, started and answering after %s", time.Since(begin))

	again, err := Find(t.Context(), Options{Archive: e.o.Archive})
	if err != nil {
		t.Fatal(err)
	}
	if !again.Own() || again.Endpoint() != "unix:///run/boot/containerd.sock" {
		t.Errorf("found %s, own %v", again.Endpoint(), again.Own())
	}
	if second := mustStart(t, again); second != first {
		t.Errorf("started %v beside %v", second, first)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if running, err := e.Running(); running || err != nil {
		t.Fatalf("after stop: running %v, %v", running, err)
	}
	begin = time.Now()
	mustStart(t, e)
	t.Logf("started and answering after %s", time.Since(begin))
}

// A record that was never written, because boot was killed right after
// starting the engine, must not lead to a second one on the same files.
func TestRealAdoptsWithoutRecord(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	first := mustStart(t, e)
	if err := os.Remove(e.o.recordPath()); err != nil {
		t.Fatal(err)
	}
	second := mustStart(t, e)
	if first.Alive() || !second.Alive() {
		t.Fatalf("first alive %v, second %v", first.Alive(), second.Alive())
	}
}

func TestRealConfigurationIsUnderstood(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	want, err := e.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(want.Exe, "--config", e.o.configPath(), "config", "dump").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "Ignoring unknown key") || strings.Contains(string(out), "migrated") {
		t.Errorf("containerd does not know all of it:\n%s", out)
	}
	for _, part := range []string{
		"address = '/run/boot/containerd.sock'",
		"conf_dir = '/etc/cni/net.d'",
		"config_path = '/etc/containerd/certs.d'",
		"netns_mounts_under_state_dir = true",
		"restrict_oom_score_adj = ",
		"sandbox = '" + PauseImage + "'",
		"socket_dir = '/run/boot/s'",
	} {
		if !strings.Contains(string(out), part) {
			t.Errorf("%s is not in\n%s", part, out)
		}
	}
	mustStart(t, e)
	for path := range strings.SplitSeq("/run/containerd /var/lib/containerd /opt/containerd /var/run/nri", " ") {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("the engine made %s", path)
		}
	}
}

func TestRealFailedStartShowsTheLog(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	e.o.Archive = pack(t, map[string]string{"containerd": "#!/bin/sh\necho the disk is on fire >&2; exit 3\n"})
	err := e.Start(t.Context())
	wantParts(t, err, "start the engine: containerd ended: exit status 3")
	failed, ok := errors.AsType[*startError](err)
	if !ok || !strings.Contains(failed.Hint(), "containerd.log:\n  the disk is on fire") {
		t.Errorf("hint: %v", err)
	}
}

func TestRealContainersSurvive(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	first := mustStart(t, e)
	mustImportPause(t, e)
	ctr := runPause(t, e)

	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { e.Run(ctx); close(ran) }()
	if err := first.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := awaitOther(t, e, first)
	ctr.mustRun(t)

	cancel()
	<-ran
	if !second.Alive() {
		t.Fatal("the engine ended with Run")
	}

	// Another build of the engine: same programs, other digest.
	e.o.Archive = repacked(t, e.o.Archive)
	third := mustStart(t, e)
	if exe, err := third.Exe(); err != nil || second.Alive() || exe == filepath.Join(e.o.Dir, "engine") {
		t.Errorf("after the upgrade: %s, %v; the old one alive: %v", exe, err, second.Alive())
	}
	ctr.mustRun(t)
	versions, err := filepath.Glob(filepath.Join(e.o.Dir, "engine", "*", "containerd"))
	if err != nil || len(versions) != 2 {
		t.Errorf("a running container's engine files are gone: %v, %v", versions, err)
	}
	ctr.remove(t)
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustStart(t, e)
	if versions, _ := filepath.Glob(filepath.Join(e.o.Dir, "engine", "*", "containerd")); len(versions) != 1 {
		t.Errorf("engine files that nobody uses are still there: %v", versions)
	}
}

// awaitOther waits for Run to have started another engine.
func awaitOther(t *testing.T, e *Engine, than process.ID) process.ID {
	t.Helper()
	if err := than.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Taking the engine's lock waits for the start that Run is at.
	for t.Context().Err() == nil {
		r, err := readRecord(e.o.recordPath())
		if err != nil {
			t.Fatal(err)
		}
		if r.ID != than {
			mustStart(t, e)
			return r.ID
		}
		backoff.Sleep(t.Context(), 5*time.Millisecond)
	}
	t.Fatal("no other engine")
	return process.ID{}
}

// paused is a container that runs until it is removed.
type paused struct {
	cri     runtimev1.RuntimeServiceClient
	sandbox string
	pid     process.ID
}

func runPause(t *testing.T, e *Engine) *paused {
	t.Helper()
	conn, err := dial(e.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p := &paused{cri: runtimev1.NewRuntimeServiceClient(conn)}
	sandbox, err := p.cri.RunPodSandbox(t.Context(), &runtimev1.RunPodSandboxRequest{Config: &runtimev1.PodSandboxConfig{
		Metadata:     &runtimev1.PodSandboxMetadata{Name: "p", Namespace: "default", Uid: "u"},
		LogDirectory: t.TempDir(),
		Labels:       map[string]string{"io.kubernetes.pod.name": "p"},
		Linux: &runtimev1.LinuxPodSandboxConfig{
			CgroupParent: "/" + nstest.Cgroup(),
			SecurityContext: &runtimev1.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimev1.NamespaceOption{Network: runtimev1.NamespaceMode_NODE},
				Seccomp:          &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_Localhost, LocalhostRef: e.SandboxSeccomp()},
			},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.sandbox = sandbox.GetPodSandboxId()
	p.pid = awaitPause(t)
	return p
}

// awaitPause returns the one process that executes pause. A sandbox counts as started
// the moment before its process does.
func awaitPause(t *testing.T) process.ID {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		all, err := process.All(func(id process.ID) bool {
			exe, err := id.Exe()
			return err == nil && exe == "/pause"
		})
		switch {
		case err != nil || len(all) > 1:
			t.Fatalf("processes of the sandbox: %v, %v", all, err)
		case len(all) == 1:
			return all[0]
		}
		if !backoff.Sleep(ctx, 5*time.Millisecond) {
			t.Fatal("no process executes pause")
		}
	}
}

func (p *paused) mustRun(t *testing.T) {
	t.Helper()
	if !p.pid.Alive() {
		t.Fatal("the container ended")
	}
	st, err := p.cri.PodSandboxStatus(t.Context(), &runtimev1.PodSandboxStatusRequest{PodSandboxId: p.sandbox})
	if err != nil || st.GetStatus().GetState() != runtimev1.PodSandboxState_SANDBOX_READY {
		t.Fatalf("the engine says %v, %v", st, err)
	}
}

func (p *paused) remove(t *testing.T) {
	t.Helper()
	if _, err := p.cri.StopPodSandbox(t.Context(), &runtimev1.StopPodSandboxRequest{PodSandboxId: p.sandbox}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.cri.RemovePodSandbox(t.Context(), &runtimev1.RemovePodSandboxRequest{PodSandboxId: p.sandbox}); err != nil {
		t.Fatal(err)
	}
}
