package e2e

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"boot.internal/doctor"
	"boot.internal/e2e/internal/lab"
	"boot.internal/kubelet/local"
	"boot.internal/status"
	"boot.internal/ttytest"
)

// Whatever is down, one screen says how the node is, at once, and what is wrong.
func TestStatus(t *testing.T) {
	t.Parallel()
	n := furnished(t, lab.NewLAN(t), "node1")
	s := statusOfNode{n}
	s.expectScreen(t, 6, "boot init")
	n.Boot(t, append([]string{"init"}, anyDisk(t, n)...)...)

	t.Run("all is well", s.healthy)
	t.Run("it is watched on a terminal", s.watched)
	t.Run("the support bundle has no secret", s.bundle)
	t.Run("a manifest is refused", s.refused)
	t.Run("the API server crashes", s.apiServerDown)
	t.Run("the host is not as it was", s.hostBroken)
	t.Run("the engine hangs", s.engineHangs)
	t.Run("the loop is stopped", s.loopStopped)
}

// A statusOfNode is a node whose status is asked for.
type statusOfNode struct{ *lab.Node }

// look runs boot status, which may not take long.
func (s statusOfNode) look(ctx context.Context, t testing.TB) (status.Report, int, error) {
	begin := time.Now()
	out, err := s.Try(ctx, lab.BootBinary(t), "status", "-o", "json")
	if err != nil {
		return status.Report{}, 0, err
	}
	const busy = time.Minute // the machine of the tests is; it is two seconds by itself
	if took := time.Since(begin); took > busy {
		t.Errorf("boot status took %s", took)
	}
	var r status.Report
	if err := json.Unmarshal([]byte(out.Stdout), &r); err != nil {
		return r, 0, fmt.Errorf("%w: %s%s", err, out.Stdout, out.Stderr)
	}
	return r, out.Code, nil
}

// until waits for a status with an exit code, in which something is wrong.
func (s statusOfNode) until(t *testing.T, code int, wrong ...string) (r status.Report) {
	t.Helper()
	lab.Until(t, 3*patience, "see it in the status", func(ctx context.Context) error {
		var got int
		var err error
		if r, got, err = s.look(ctx, t); err != nil {
			return err
		}
		all := strings.Join(r.Wrong, "\n")
		for _, want := range wrong {
			if !strings.Contains(all, want) {
				return fmt.Errorf("nobody says %q: %s", want, all)
			}
		}
		if got != code {
			return fmt.Errorf("exit code %d, want %d: %s", got, code, all)
		}
		return nil
	})
	return r
}

// expectScreen looks as a person does, until the screen says it all. On a busy
// machine somebody may not answer in time at first.
func (s statusOfNode) expectScreen(t *testing.T, code int, want ...string) {
	t.Helper()
	screen := s.says(t, "status", code, want...)
	for line := range strings.Lines(screen) {
		if len([]rune(strings.TrimSuffix(line, "\n"))) > 80 {
			t.Errorf("too long: %s", line)
		}
	}
	t.Logf("\n%s", screen)
}

// says waits until a command ends with a code and says all of the texts.
func (s statusOfNode) says(t *testing.T, command string, code int, want ...string) (said string) {
	t.Helper()
	lab.Until(t, 3*patience, "read it from boot "+command, func(ctx context.Context) error {
		out, err := s.Try(ctx, lab.BootBinary(t), command)
		if err != nil || out.Code != code {
			return fmt.Errorf("exit code %d, want %d, %w: %s%s", out.Code, code, err, out.Stdout, out.Stderr)
		}
		for _, text := range want {
			if !strings.Contains(out.Stdout, text) {
				return fmt.Errorf("it does not say %q: %s", text, out.Stdout)
			}
		}
		said = out.Stdout
		return nil
	})
	return said
}

// doctor waits for findings, and for no other that is more than good to know.
func (s statusOfNode) doctor(t *testing.T, code int, ids ...string) {
	t.Helper()
	lab.Until(t, 3*patience, "hear it from the doctor", func(ctx context.Context) error {
		out, err := s.Try(ctx, lab.BootBinary(t), "doctor", "-o", "json")
		if err != nil {
			return err
		}
		var d struct{ Findings []doctor.Finding }
		if err := json.Unmarshal([]byte(out.Stdout), &d); err != nil {
			return fmt.Errorf("%w: %s%s", err, out.Stdout, out.Stderr)
		}
		var got []string
		busy := false
		for _, f := range d.Findings {
			switch {
			case f.ID == "EtcdSlowDisk" || f.ID == "DiskSpace": // the disk is that of the machine of the tests
				busy = true
			case f.Severity != doctor.Note:
				got = append(got, f.ID)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(ids, slices.Compact(got)); diff != "" || !busy && out.Code != code {
			return fmt.Errorf("exit code %d, findings (-want +got):\n%s\n%s", out.Code, diff, out.Stdout)
		}
		return nil
	})
}

func (s statusOfNode) healthy(t *testing.T) {
	for _, name := range components() { // a pod that comes up is nothing wrong
		s.expectPod(t, name+"-"+s.Name, local.Running)
	}
	r := s.until(t, 0)
	if len(r.StaticPods) != len(components()) || r.Etcd == nil || !r.Etcd.Quorum || len(r.Certificates) == 0 || !r.Loop.Running {
		t.Errorf("report: %+v", r)
	}
	s.expectScreen(t, 0, "node1  Ready", "control-plane", "kube-apiserver", "1 of 1 members healthy", "all is well")
	s.doctor(t, 0)
}

// watched sees on a terminal a manifest be refused and be no more, in the same place,
// until it is interrupted.
func (s statusOfNode) watched(t *testing.T) {
	tty, cmd := onTerminal(t, s.Node, "status", "--watch")
	tty.Await("that all is well", ttytest.Sees("all is well\n"))
	path := filepath.Join(staticPods, "watched.yaml")
	s.WriteFile(t, path, "kind: Pod\n")
	tty.Await("that something is not", ttytest.Sees(path))
	s.Remove(t, path)
	tty.Await("that all is well again", ttytest.Sees("all is well\n"))
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
	if screen := tty.Screen(); strings.Count(screen, s.Name+"  Ready") > 1 || strings.Contains(screen, path) {
		t.Errorf("the screen:\n%s", screen)
	}
}

func (s statusOfNode) refused(t *testing.T) {
	path := filepath.Join(staticPods, "kept.yaml")
	s.WriteFile(t, path, text(t, hostPod("kept", box("c", "sleep", "infinity"))))
	defer s.Remove(t, path)
	s.expectPod(t, "kept-node1", local.Running)
	s.WriteFile(t, path, "apiVersion: v1\nkind: Pod\nmetadata: {name: kept}\nspec: {containers: [{name: c, imagee: x}]}\n")
	r := s.until(t, 4, path+":4 is refused")
	if len(r.Manifests) == 0 || r.Manifests[0].Kept.IsZero() {
		t.Errorf("manifests: %+v", r.Manifests)
	}
	s.expectScreen(t, 4, "imagee", "its last good version goes on")
	s.doctor(t, 4, "ManifestRefused")
}

// bundle plants secrets where they are, and looks for them in the bundle.
func (s statusOfNode) bundle(t *testing.T) {
	const planted = "planted-by-the-test-"
	p := hostPod("planted", box("c", "log", planted+"env"))
	p.Namespace = "kube-system"
	p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "DB_PASSWORD", Value: planted + "env"}}
	path := filepath.Join(staticPods, "planted.yaml")
	s.WriteFile(t, path, text(t, p))
	defer s.Remove(t, path)
	s.Kubectl(t, "create", "secret", "generic", "planted", "--from-literal=key="+planted+"secret")
	s.expectPod(t, "planted-node1", local.Running, local.Succeeded, local.Crashing)
	secrets := []string{planted}
	for _, file := range []string{"ca", "sa", "etcd/ca", "apiserver"} {
		key := s.ReadFile(t, "/etc/kubernetes/pki/"+file+".key")
		secrets = append(secrets, strings.Split(key, "\n")[1])
	}
	join := strings.Fields(s.Boot(t, "token", "create"))
	_, secret, _ := strings.Cut(join[0], ".")
	for line := range strings.Lines(s.ReadFile(t, adminConf)) {
		if _, key, ok := strings.Cut(line, "client-key-data: "); ok {
			secrets = append(secrets, strings.TrimSpace(key))
		}
	}
	secrets = append(secrets, secret)
	lab.Until(t, 3*patience, "see the bundle whole", func(context.Context) error {
		files := s.unpack(t)
		for name, content := range files {
			for _, secret := range secrets {
				if strings.Contains(content, secret) {
					t.Errorf("%s has the secret %s", name, secret)
				}
			}
		}
		return lacks(files, s.IP.String())
	})
}

// lacks returns what a support bundle of a node with that address does not have. Who
// does not answer in time on a busy machine is not in it, nor is a mirror that is yet
// to be made.
func lacks(files map[string]string, address string) error {
	var all []error
	for name, want := range map[string]string{
		"status.txt": "node1  Ready", "doctor.json": `"verdict"`, "manifests/planted.yaml": "DB_PASSWORD", "manifests/etcd.yaml": "etcd", "logs/kubelet.log": "level=",
		"engine/containers.json": "kube-apiserver", "cluster/nodes.json": "node1", "cluster/events.json": "Started", "network/addresses.txt": address,
		"config/kubelet.yaml": "KubeletConfiguration", "loop.json": `"node": "node1"`, "cluster/pods-kube-system.json": "REDACTED",
	} {
		if !strings.Contains(files[name], want) {
			all = append(all, fmt.Errorf("%s does not have %q: %.300s", name, want, files[name]))
		}
	}
	if len(all) > 0 {
		all = append(all, errors.New(files["collected.json"]))
	}
	return errors.Join(all...)
}

// unpack makes a support bundle and reads it.
func (s statusOfNode) unpack(t *testing.T) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(s.Boot(t, "support-bundle", "-o", "-")))
	lab.Must(t, err)
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		lab.Must(t, err)
		data, err := io.ReadAll(r)
		lab.Must(t, err)
		_, name, _ := strings.Cut(h.Name, "/")
		files[name] = string(data)
	}
}

// expectPod waits until a static pod is in one of the states.
func (s statusOfNode) expectPod(t *testing.T, name string, states ...local.PodState) {
	t.Helper()
	lab.Until(t, 3*patience, "see the pod "+name, func(ctx context.Context) error {
		r, _, err := s.look(ctx, t)
		for _, p := range r.StaticPods {
			if p.Name == name && slices.Contains(states, p.State) {
				return nil
			}
		}
		return fmt.Errorf("%+v, %w", r.StaticPods, err)
	})
}

// apiServerDown has the API server end at once, again and again.
func (s statusOfNode) apiServerDown(t *testing.T) {
	path := filepath.Join(staticPods, "kube-apiserver.yaml")
	good := s.ReadFile(t, path)
	s.WriteFile(t, path, strings.Replace(good, "- kube-apiserver\n", "- kube-apiserver\n    - --no-such-flag=1\n", 1))
	s.until(t, 4, "no API server answers", "kube-system/kube-apiserver-node1 is crashing: exit code", "unknown flag: --no-such-flag")
	s.expectScreen(t, 4, "no-such-flag", "crashing")
	s.expectDoctor(t, 4, "APIUnreachable", "PodCrashing")
	s.WriteFile(t, path, good)
	s.until(t, 0)
}

// hostBroken takes from the host what a node needs.
func (s statusOfNode) hostBroken(t *testing.T) {
	const hosts, resolv, forward = "/etc/hosts", "/etc/resolv.conf", "/proc/sys/net/ipv4/ip_forward"
	were := map[string]string{hosts: s.ReadFile(t, hosts), resolv: s.ReadFile(t, resolv)}
	s.doctor(t, 0)
	s.WriteFile(t, hosts, s.IP.String()+"\t"+s.Name+"\n")
	s.WriteFile(t, resolv, "nameserver 127.0.0.1\n")
	s.Run(t, "sh", "-c", "echo 0 > "+forward)
	ca := s.ReadFile(t, "/etc/kubernetes/pki/front-proxy-client.crt")
	s.WriteFile(t, "/etc/kubernetes/pki/front-proxy-client.crt", "gone\n")
	s.doctor(t, 4, "CertificateUnreadable", "FileContent--proc-sys-net-ipv4-ip_forward", "HostsLocalhost", "ResolverLoop")
	for path, text := range were {
		s.WriteFile(t, path, text)
	}
	s.WriteFile(t, "/etc/kubernetes/pki/front-proxy-client.crt", ca)
	s.Run(t, "sh", "-c", "echo 1 > "+forward)
	s.doctor(t, 0)
}

// expectDoctor looks as a person does. With so much wrong there may be more.
func (s statusOfNode) expectDoctor(t *testing.T, code int, ids ...string) {
	t.Helper()
	for i := range ids {
		ids[i] = "[" + ids[i] + "]"
	}
	t.Logf("\n%s", s.says(t, "doctor", code, ids...))
}

func (s statusOfNode) engineHangs(t *testing.T) {
	engine := await(t, "the engine", func() (lab.Process, error) { return only(s.Find(t, "containerd", "--config")) })
	s.Kill(t, engine, syscall.SIGSTOP)
	s.until(t, 4, "the container engine does not answer")
	s.expectScreen(t, 4, "does not answer at "+engineSocket)
	s.doctor(t, 4, "EngineDown")
	s.Kill(t, engine, syscall.SIGCONT)
	s.until(t, 0)
}

// seesPods waits until all static pods are in the status: on a busy machine the engine
// may not tell of each in time.
func (s statusOfNode) seesPods(t *testing.T) {
	t.Helper()
	lab.Until(t, 3*patience, "see all static pods in the status", func(ctx context.Context) error {
		r, _, err := s.look(ctx, t)
		if err == nil && len(r.StaticPods) != len(components()) {
			err = fmt.Errorf("there are %+v, not seen: %q", r.StaticPods, r.Unseen)
		}
		return err
	})
}

func (s statusOfNode) loopStopped(t *testing.T) {
	comeBack := sendAway(t, s.Node)
	s.until(t, 5, "the kubelet loop does not run")
	s.seesPods(t)
	s.expectScreen(t, 5, "the kubelet loop does not run", "etcd")
	s.expectDoctor(t, 5, "LoopNotRunning")
	if files := s.unpack(t); !strings.Contains(files["status.txt"], "the kubelet loop does not run") || !strings.Contains(files["collected.json"], "loop.json") {
		t.Errorf("support bundle: %s", files["collected.json"])
	}
	comeBack()
	s.until(t, 0)
}
