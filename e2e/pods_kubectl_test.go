package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/e2e/internal/lab"
)

// kubectlTests are about kubectl as people use it to look into pods.
func kubectlTests() []podTest {
	return []podTest{
		{"kubectl logs", testKubectlLogs},
		{"kubectl logs of what does not run", testKubectlLogsWaiting},
		{"kubectl exec and attach over WebSocket", func(t *testing.T, c *podCluster) { testKubectlStreams(t, c, nil) }},
		{"kubectl exec and attach over SPDY", func(t *testing.T, c *podCluster) { testKubectlStreams(t, c, overSPDY()) }},
		{"kubectl cp", testKubectlCopy},
		{"kubectl debug", testKubectlDebug},
		{"the node's own API", testNodeAPI},
	}
}

// overSPDY has kubectl use the protocol of old.
func overSPDY() []string {
	return []string{"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"}
}

// A ctl is one run of kubectl in the namespace of a test.
type ctl struct {
	env   []string
	stdin io.Reader
	args  []string
}

// ctl runs kubectl and returns what it said and how it ended.
func (c *podCluster) ctl(t *testing.T, r ctl) lab.Output {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := c.Command(ctx, append([]string{lab.Component(t, "bin/kubectl"), "-n", c.Namespace}, r.args...)...)
	cmd.Env = append(cmd.Env, r.env...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r.stdin, &out, &errs
	err := c.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("kubectl %s: %v\n%s%s", strings.Join(r.args, " "), err, &out, &errs)
	}
	return lab.Output{Stdout: out.String(), Stderr: errs.String(), Code: cmd.ProcessState.ExitCode()}
}

// say runs kubectl, which is to succeed, and returns what it said.
func (c *podCluster) say(t *testing.T, args ...string) string {
	t.Helper()
	out := c.ctl(t, ctl{args: args})
	if out.Code != 0 {
		t.Fatalf("kubectl %s: exit code %d\n%s%s", strings.Join(args, " "), out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

func testKubectlLogs(t *testing.T, c *podCluster) {
	start := time.Now()
	again := boxPod("again", "log", "5")
	again.Spec.Containers[0].Name = "five"
	c.Create(t, again)
	five := boxPod("five", "log", "5")
	five.Spec.RestartPolicy = corev1.RestartPolicyNever // a log is whole once its container has ended
	c.Create(t, five)
	c.AwaitPhase(t, "five", corev1.PodSucceeded)
	c.Await(t, "again", "ended twice", func(p *corev1.Pod) error {
		if s := p.Status.ContainerStatuses; len(s) == 0 || s[0].RestartCount < 1 || s[0].LastTerminationState.Terminated == nil {
			return fmt.Errorf("it has not been started again")
		}
		return nil
	})
	all := "line 1\nline 2\nline 3\nline 4\nline 5\n"
	lab.Until(t, patience, "read the log of the time before", func(context.Context) error { // which may just have become another
		out := c.ctl(t, ctl{args: []string{"logs", "again", "--previous"}})
		if out.Code != 0 || out.Stdout != all {
			return fmt.Errorf("exit code %d, %q: %s", out.Code, out.Stdout, out.Stderr)
		}
		return nil
	})
	for args, want := range map[string]string{
		"five":                  all,
		"five --tail=2":         "line 4\nline 5\n",
		"five --limit-bytes=9":  "line 1\nli",
		"five --since=1h":       all,
		"five -c five --tail=0": "",
		"five --since-time=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339): "",
		"five --since-time=" + start.Add(-time.Hour).UTC().Format(time.RFC3339):     all,
	} {
		if got := c.say(t, append([]string{"logs"}, strings.Fields(args)...)...); got != want {
			t.Errorf("logs %s: %q, want %q", args, got, want)
		}
	}
	stamped := c.say(t, "logs", "five", "--timestamps", "--tail=1")
	at, text, _ := strings.Cut(stamped, " ")
	if when, err := time.Parse(time.RFC3339Nano, at); err != nil || when.Before(start.Add(-time.Minute)) || text != "line 5\n" {
		t.Errorf("with timestamps: %q, %v", stamped, err)
	}
	testFollow(t, c)
}

// testFollow follows a log until its container ends.
func testFollow(t *testing.T, c *podCluster) {
	t.Helper()
	p := boxPod("slow", "log", "4", "every", "1s")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	c.Create(t, p)
	c.Await(t, "slow", "running", func(p *corev1.Pod) error {
		if s := p.Status.ContainerStatuses; len(s) == 0 || s[0].State.Waiting != nil {
			return fmt.Errorf("it does not run")
		}
		return nil
	})
	if got := c.say(t, "logs", "-f", "slow"); got != "line 1\nline 2\nline 3\nline 4\n" {
		t.Errorf("followed: %q", got)
	}
}

func testKubectlLogsWaiting(t *testing.T, c *podCluster) {
	p := boxPod("main", "sleep", "infinity")
	p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: testImage, Args: []string{"sleep", "infinity"}}}
	c.Create(t, p)
	c.Await(t, "main", "initialising", func(p *corev1.Pod) error {
		if s := p.Status.InitContainerStatuses; len(s) == 0 || s[0].State.Running == nil {
			return fmt.Errorf("its init container does not run")
		}
		return nil
	})
	bad := boxPod("bad", "sleep", "infinity")
	bad.Spec.Containers[0].Image = "boot.internal/none:1"
	bad.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
	c.Create(t, bad)
	c.AwaitEvent(t, "bad", "ErrImageNeverPull")
	c.Await(t, "bad", "waiting", waitsFor("ErrImageNeverPull"))
	for args, want := range map[string]string{
		"main -c main":          `container "main" in pod "main" is waiting to start: PodInitializing`,
		"main -c main -p":       `previous terminated container "main" in pod "main" not found`,
		"main -c other":         `container other is not valid for pod main`,
		"bad":                   `container "bad" in pod "bad" is waiting to start: ErrImageNeverPull`,
		"main -c first --tail=": `invalid argument`,
	} {
		out := c.ctl(t, ctl{args: append([]string{"logs"}, strings.Fields(args)...)})
		if out.Code == 0 || !strings.Contains(out.Stderr, want) {
			t.Errorf("logs %s: exit code %d, %s%s", args, out.Code, out.Stdout, out.Stderr)
		}
	}
}

func testKubectlStreams(t *testing.T, c *podCluster, env []string) {
	p := boxPod("box", "http", ":8080")
	p.Spec.Containers[0].ReadinessProbe = quick(getProbe("/healthz", 8080)) // it is connected to
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{
		Name: "echo", Image: testImage, Args: []string{"cat"}, Stdin: true,
	})
	c.Create(t, p)
	c.AwaitReady(t, "box")
	for _, e := range []struct {
		args, in, out, errs string
		code                int
	}{
		{"box -- exec-ok", "", "ok\n", "", 0},
		{"box -- say one two", "", "one\n", "two\n", 0},
		{"box -- exit 7", "", "", "exit code 7", 7},
		{"-i box -- cat", "what goes in", "what goes in", "", 0},
		{"box -- no-such-program", "", "", "no-such-program", 1},
		{"box -c none -- exec-ok", "", "", "container none is not valid", 1},
	} {
		r := ctl{env: env, args: append([]string{"exec"}, strings.Fields(e.args)...)}
		if e.in != "" {
			r.stdin = strings.NewReader(e.in)
		}
		out := c.ctl(t, r)
		if out.Code != e.code && e.args != "box -- no-such-program" || out.Stdout != e.out || !strings.Contains(out.Stderr, e.errs) {
			t.Errorf("exec %s: exit code %d, %q, %q", e.args, out.Code, out.Stdout, out.Stderr)
		}
	}
	big := strings.Repeat("0123456789abcdef", 1<<15)
	if out := c.ctl(t, ctl{env: env, stdin: strings.NewReader(big), args: []string{"exec", "-i", "box", "--", "cat"}}); out.Stdout != big {
		t.Errorf("of %d bytes came %d back: %s", len(big), len(out.Stdout), out.Stderr)
	}
	c.terminal(t, env)
	c.attached(t, env)
	c.forward(t, env)
}

// terminal runs a command on a terminal, which has the size of kubectl's.
func (c *podCluster) terminal(t *testing.T, env []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	line := fmt.Sprintf("stty cols 97 rows 31; %s -n %s exec -it box -- winsize 97", lab.Component(t, "bin/kubectl"), c.Namespace)
	cmd := c.Command(ctx, "script", "-qec", line, "/dev/null")
	cmd.Env = append(cmd.Env, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := c.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil || !strings.Contains(out.String(), "31 rows 97 columns") {
		t.Errorf("on a terminal: %v, %q", err, &out)
	}
}

// attached writes to the standard input of a container and reads its answer. The
// engine may pass on what is written before it passes on what comes of that, so it is
// written until there is an answer.
func (c *podCluster) attached(t *testing.T, env []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	in, toIn := io.Pipe()
	defer context.AfterFunc(ctx, func() { _ = in.Close() })() // whoever writes waits for whoever reads
	cmd := c.Command(ctx, lab.Component(t, "bin/kubectl"), "-n", c.Namespace, "attach", "-i", "box", "-c", "echo")
	cmd.Env = append(cmd.Env, env...)
	out := &answer{want: "hello echo", found: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
	if err := c.Start(cmd); err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for heard := false; !heard; {
		_, _ = io.WriteString(toIn, "hello echo\n") // an error is that of the command
		select {
		case <-again.C:
		case <-out.found:
			heard = true
		case <-ctx.Done():
			t.Errorf("what was written to an attached container did not come back: %s", out.text())
			heard = true
		}
	}
	cancel()
	_ = toIn.Close()
	_ = cmd.Wait() // it was ended
}

// An answer closes found once it has heard what it wants. One goroutine writes.
type answer struct {
	want  string
	found chan struct{}

	mu    sync.Mutex // guards heard
	heard string
}

// text returns what was heard by now.
func (a *answer) text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heard
}

func (a *answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := strings.Contains(a.heard, a.want)
	a.heard += string(p)
	if !before && strings.Contains(a.heard, a.want) {
		close(a.found)
	}
	return len(p), nil
}

// forward asks a container through a forwarded port, several times over.
func (c *podCluster) forward(t *testing.T, env []string) {
	t.Helper()
	c.forwarded(t, env, "pod/box", "8080", func(get func(path string) (string, error)) {
		for range 3 {
			if got, err := get("/hostname"); err != nil || strings.TrimSpace(got) != "box" {
				t.Errorf("through a forwarded port: %q, %v", got, err)
			}
		}
	})
}

// forwarded forwards a port for as long as use takes.
func (c *podCluster) forwarded(t *testing.T, env []string, target, port string, use func(get func(path string) (string, error))) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := c.Command(ctx, lab.Component(t, "bin/kubectl"), "-n", c.Namespace, "port-forward", target, ":"+port)
	cmd.Env = append(cmd.Env, env...)
	out := &answer{want: " -> ", found: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := c.Start(cmd); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was ended
	}()
	select {
	case <-out.found:
	case <-ctx.Done():
		t.Fatal("no port is forwarded")
	}
	local := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).FindString(out.text())
	client := &http.Client{Transport: &http.Transport{DialContext: c.Dial, DisableKeepAlives: true}}
	use(func(path string) (string, error) { return fetch(ctx, client, "http://"+local+path) })
}

func fetch(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(resp.Body)
	return string(data), err
}

func testKubectlCopy(t *testing.T, c *podCluster) {
	c.Create(t, boxPod("box", "sleep", "infinity"))
	c.AwaitReady(t, "box")
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "tree", "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("some text\n", 10000)
	if err := os.WriteFile(filepath.Join(dir, "tree", "below", "file"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c.say(t, "cp", filepath.Join(dir, "tree"), "box:/tmp/tree")
	c.say(t, "cp", "box:/tmp/tree/below", filepath.Join(dir, "back"))
	if got := c.ReadFile(t, filepath.Join(dir, "back", "file")); got != text {
		t.Errorf("there and back: %d bytes", len(got))
	}
}

func testKubectlDebug(t *testing.T, c *podCluster) {
	c.Create(t, boxPod("box", "sleep", "infinity"))
	c.AwaitReady(t, "box")
	c.say(t, "debug", "box", "--image="+testImage, "--target=box", "--container=look", "--profile=general", "--", "sleep", "12h")
	c.Await(t, "box", "with an ephemeral container", func(p *corev1.Pod) error {
		if s := p.Status.EphemeralContainerStatuses; len(s) != 1 || s[0].State.Running == nil {
			return fmt.Errorf("%d of them", len(s))
		}
		return nil
	})
	// It sees the processes of its target: the first is not its own. That has been
	// started, and may be executed later.
	lab.Until(t, patience, "see the first process of the target", func(context.Context) error {
		out := c.ctl(t, ctl{args: []string{"exec", "box", "-c", "look", "--", "cat", "/proc/1/cmdline"}})
		if out.Code != 0 || !strings.HasPrefix(out.Stdout, "/testbox\x00sleep\x00infinity") {
			return fmt.Errorf("exit code %d, %q: %s", out.Code, out.Stdout, out.Stderr)
		}
		return nil
	})
	c.say(t, "debug", "box", "--copy-to=copy", "--container=box", "--set-image=box="+testImage, "--profile=general", "--", "sleep", "infinity")
	c.AwaitReady(t, "copy")
	c.say(t, "debug", "node/"+c.Name, "--image="+testImage, "--profile=general", "--", "ls", "/host/etc/kubernetes")
	list := c.list(t, "app.kubernetes.io/managed-by=kubectl-debug")
	c.AwaitPhase(t, list[0].Name, corev1.PodSucceeded)
	if got := c.Logs(t, list[0].Name, "debugger"); !strings.Contains(got, "admin.conf") {
		t.Errorf("the node's files: %s", got)
	}
}

// testNodeAPI asks the node through the API server.
func testNodeAPI(t *testing.T, c *podCluster) {
	c.Create(t, boxPod("box", "http", ":8080"))
	c.AwaitReady(t, "box")
	raw := "/api/v1/nodes/" + c.Name + "/proxy"
	for path, want := range map[string]string{
		"/healthz?verbose": "[+]syncloop ok",
		"/configz":         `"kubeletconfig":{`,
		"/pods":            `"name":"box"`,
		"/runningpods/":    `"image":"` + testImage + `"`,
		"/logs/":           `<a href="pods/">pods/</a>`,
		"/debug/pprof/":    "goroutine",
		"/metrics":         `kubelet_node_name{node="` + c.Name + `"} 1`,
	} {
		if got := c.say(t, "get", "--raw", raw+path); !strings.Contains(got, want) {
			t.Errorf("%s: %.500s", path, got)
		}
	}
	post := func(path string) string {
		got, err := c.Client.CoreV1().RESTClient().Post().AbsPath(raw+path).Param("cmd", "exec-ok").DoRaw(t.Context())
		return fmt.Sprint(string(got), err)
	}
	if got := post("/run/" + c.Namespace + "/box/box"); !strings.HasPrefix(got, "ok\n") {
		t.Errorf("run: %s", got)
	}
	// The API server may not ask for that, as upstream's roles have it.
	if got := post("/checkpoint/" + c.Namespace + "/box/box"); !strings.Contains(got, "Forbidden (user=kube-apiserver-kubelet-client, verb=create, resource=nodes, subresource(s)=[checkpoint])") {
		t.Errorf("checkpoint: %s", got)
	}
}
