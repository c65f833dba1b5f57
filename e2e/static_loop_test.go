package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/e2e/internal/lab"
)

// manifests is where the tests of boot kubelet keep theirs.
const manifests = "/etc/manifests"

// standaloneConfig has everyone see the pods. The directory is as good as never
// listed again, so whatever is noticed was heard of.
const standaloneConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /etc/manifests
fileCheckFrequency: 1h
podCIDR: 10.200.0.0/24
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
authentication:
  anonymous: {enabled: true}
  webhook: {enabled: false}
authorization: {mode: AlwaysAllow}
---
apiVersion: boot.internal/v1
kind: BootConfiguration
network: bridge
`

// A standalone is a boot kubelet that has no API server, on a node of its own.
type standalone struct {
	node  *lab.Node
	cri   cri.RuntimeServiceClient
	trace *trace

	http    *http.Client
	process *exec.Cmd // nil while it does not run
	log     logBuffer
	env     []string // beside what every process of the node has

	barriers atomic.Int32
}

// newStandalone returns one that runs and has no manifests.
func newStandalone(t *testing.T) *standalone {
	t.Helper()
	s := &standalone{node: lab.New(t)}
	t.Cleanup(func() { judgeLog(t, loopLog, s.log.String()) })
	s.http = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: s.node.Dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it signs its certificate itself
	}}
	s.node.Run(t, "mkdir", "-p", manifests, "/var/lib/boot/images")
	for _, image := range []string{"pause", "testbox"} {
		s.node.Run(t, "ln", "-s", lab.Component(t, "images/"+image+".tar"), "/var/lib/boot/images/")
	}
	s.node.WriteFile(t, "/etc/kubelet.yaml", standaloneConfig)
	s.node.Run(t, "mkdir", "-p", dropIns)
	s.node.WriteFile(t, dropIns+"/10-crashes.conf", standaloneDropIn)
	s.start(t)
	t.Cleanup(func() { s.kill(t) })
	s.cri = engineClient(t, s.node)
	s.trace = follow(t, s.cri)
	return s
}

// start starts the loop and waits until it is well.
func (s *standalone) start(t testing.TB) {
	t.Helper()
	cmd := s.node.Command(context.WithoutCancel(t.Context()), lab.BootBinary(t), "kubelet", "--config", "/etc/kubelet.yaml", "--config-dir", dropIns)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	cmd.Env = append(cmd.Environ(), s.env...)
	if err := s.node.Start(cmd); err != nil {
		t.Fatal(err)
	}
	s.process = cmd
	lab.Until(t, patience, "see the loop healthy", func(ctx context.Context) error {
		_, err := s.get(ctx, "http://127.0.0.1:10248/healthz")
		return err
	})
}

// kill ends the loop with a signal that it does not get to see.
func (s *standalone) kill(t testing.TB) {
	t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = s.process.Wait() // it was killed, and its engine may hold its output
	s.process = nil
}

// get returns what an address of the node answers.
func (s *standalone) get(ctx context.Context, url string) (body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err = io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s: %s", url, resp.Status, body)
	}
	return body, err
}

// pod returns a pod as the node sees it.
func (s *standalone) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	data, err := s.get(ctx, "https://127.0.0.1:10250/pods")
	if err != nil {
		return nil, err
	}
	var list corev1.PodList
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	for i := range list.Items {
		if list.Items[i].Name == name+"-"+s.node.Name {
			return &list.Items[i], nil
		}
	}
	return nil, fmt.Errorf("there is no pod %s", name)
}

// until waits for a pod to be as it should, and returns it.
func (s *standalone) until(t testing.TB, name, what string, check func(p *corev1.Pod) error) (p *corev1.Pod) {
	t.Helper()
	lab.Until(t, patience, "see pod "+name+" "+what, func(ctx context.Context) (err error) {
		if p, err = s.pod(ctx, name); err != nil {
			return err
		}
		if err = check(p); err != nil {
			err = fmt.Errorf("%w: %s", err, brief(p))
		}
		return err
	})
	return p
}

// ready waits until all containers of a pod are ready.
func (s *standalone) ready(t testing.TB, name string) *corev1.Pod {
	t.Helper()
	return s.until(t, name, "ready", podReady)
}

// replaced waits until a pod is ready that is another than before.
func (s *standalone) replaced(t testing.TB, old *corev1.Pod) *corev1.Pod {
	t.Helper()
	return s.until(t, strings.TrimSuffix(old.Name, "-"+s.node.Name), "replaced", func(p *corev1.Pod) error {
		if p.UID == old.UID {
			return errors.New("it is the old one")
		}
		return podReady(p)
	})
}

// anew waits until a pod is ready with another instance of a container than
// before. What was said last of a pod that goes and comes again under the same UID
// stays said until somebody has looked at it.
func (s *standalone) anew(t testing.TB, old *corev1.Pod, container string) *corev1.Pod {
	t.Helper()
	return s.until(t, strings.TrimSuffix(old.Name, "-"+s.node.Name), "with "+container+" started anew", func(p *corev1.Pod) error {
		if statusOf(p, container).ContainerID == statusOf(old, container).ContainerID {
			return errors.New("it is the old one")
		}
		return podReady(p)
	})
}

// gone waits until the engine has nothing of a pod.
func (s *standalone) gone(t testing.TB, name string) {
	t.Helper()
	full := name + "-" + s.node.Name
	lab.Until(t, patience, "see pod "+name+" gone", func(ctx context.Context) error {
		left, err := s.sandboxes(ctx, full)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left %v", left)
		}
		return err
	})
}

func (s *standalone) sandboxes(ctx context.Context, pod string) ([]*cri.PodSandbox, error) {
	list, err := s.cri.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{
		LabelSelector: map[string]string{"io.kubernetes.pod.name": pod},
	}})
	return list.GetItems(), err
}

// exec runs a command in a container, which is to succeed, and returns what it
// said.
func (s *standalone) exec(t testing.TB, p *corev1.Pod, container string, args ...string) string {
	t.Helper()
	out, err := s.cri.ExecSync(t.Context(), &cri.ExecSyncRequest{
		ContainerId: containerID(t, p, container), Cmd: append([]string{"/testbox"}, args...), Timeout: int64(patience.Seconds()),
	})
	if err != nil || out.ExitCode != 0 {
		t.Fatalf("run %q in %s of %s: %v, exit code %d: %s", args, container, p.Name, err, out.GetExitCode(), out.GetStderr())
	}
	return strings.TrimSpace(string(out.Stdout))
}

// crash kills a container from outside.
func (s *standalone) crash(t testing.TB, p *corev1.Pod, container string) {
	t.Helper()
	killContainer(t, s.node, s.cri, containerID(t, p, container))
}

// barrier returns once everything that was done to the manifests before has
// been noticed: manifests are seen in order, and a pod that came later runs.
func (s *standalone) barrier(t testing.TB) {
	t.Helper()
	p := hostPod(fmt.Sprintf("barrier-%d", s.barriers.Add(1)), box("c", "sleep", "infinity"))
	s.put(t, p)
	s.ready(t, p.Name)
	s.node.Remove(t, manifestPath(p.Name))
}

// A logBuffer takes what a process says while others read it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// says waits until a line of the log has all of the words.
func (b *logBuffer) says(t testing.TB, words ...string) {
	t.Helper()
	lab.Until(t, patience, fmt.Sprintf("read %q in the log", words), func(context.Context) error {
		for line := range strings.Lines(b.String()) {
			has := true
			for _, w := range words {
				has = has && strings.Contains(line, w)
			}
			if has {
				return nil
			}
		}
		return errors.New("it is not there")
	})
}
