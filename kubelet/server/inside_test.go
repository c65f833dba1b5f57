package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// A world is a runtime that says which command it was given.
type world struct {
	code int
	err  error
	file string // of the last checkpoint
}

func (w *world) Running(context.Context) ([]v1.Pod, error) {
	return []v1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "a"}}}, w.err
}

func (w *world) Exec(_ context.Context, id string, command []string, _ time.Duration) (out []byte, code int, err error) {
	return []byte(id + ": " + strings.Join(command, ",")), w.code, w.err
}

func (w *world) Checkpoint(_ context.Context, _, file string, _ time.Duration) error {
	w.file = file
	return w.err
}

// figures tell which of them was asked for.
type figures struct{}

func (figures) Summary(context.Context) (*statsapi.Summary, error) {
	return &statsapi.Summary{Node: statsapi.NodeStats{NodeName: "all"}}, nil
}

func (figures) CPUAndMemory(context.Context) (*statsapi.Summary, error) {
	return &statsapi.Summary{Node: statsapi.NodeStats{NodeName: "cpu and memory"}}, nil
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// open is a server that lets everybody do everything.
func open(t *testing.T, change func(*Options)) fixture {
	t.Helper()
	return newFixture(t, func(o *Options) {
		o.Config.Authorization.Mode = kubeletv1beta1.KubeletAuthorizationModeAlwaysAllow
		o.Config.Authentication.Anonymous.Enabled = new(true)
		o.Config.EnableSystemLogQuery = new(true)
		if change != nil {
			change(o)
		}
	})
}

func (f fixture) do(method, path, body string) answer {
	w := answer{httptest.NewRecorder()}
	f.Handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

type answer struct{ *httptest.ResponseRecorder }

// said returns code and body.
func (a answer) said() string { return fmt.Sprint(a.Code, " ", a.Body) }

// onePod has one container that runs.
func onePod() v1.Pod {
	return v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c"}, {Name: "done"}}},
		Status: v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{
			{Name: "c", ContainerID: "containerd://id", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}},
			{Name: "done", ContainerID: "containerd://old", State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{}}},
		}},
	}
}

func TestRun(t *testing.T) {
	w := &world{}
	f := open(t, func(o *Options) { o.Pods, o.Runtime = pods{onePod()}, w })
	for _, c := range []struct {
		method, path string
		exits        int
		code         int
		want         string
	}{
		{"POST", "/run/ns/p/c?cmd=cat+/etc/hosts", 0, 200, "id: cat,/etc/hosts"},
		{"POST", "/run/ns/p/u/c?cmd=id", 0, 200, "id: id"},
		{"POST", "/run/ns/p/c?cmd=false", 1, 500, "command 'false' exited with 1: id: false\n"},
		{"POST", "/run/ns/p/other/c?cmd=id", 0, 404, "pod does not exist\n"},
		{"POST", "/run/ns/p/done?cmd=id", 0, 500, "container not found (\"done\")\n"},
		{"GET", "/run/ns/p/c?cmd=id", 0, 405, "Method Not Allowed\n"},
	} {
		w.code = c.exits
		got := f.do(c.method, c.path, "")
		if diff := cmp.Diff(c.want, got.Body.String()); got.Code != c.code || diff != "" {
			t.Errorf("%s %s: %d, want %d; (-want +got)\n%s", c.method, c.path, got.Code, c.code, diff)
		}
	}
}

func TestCheckpoint(t *testing.T) {
	w := &world{}
	f := open(t, func(o *Options) { o.Pods, o.Runtime = pods{onePod()}, w })
	got := f.do("POST", "/checkpoint/ns/p/c?timeout=1", "")
	var said struct{ Items []string }
	if err := json.Unmarshal(got.Body.Bytes(), &said); err != nil || len(said.Items) != 1 || said.Items[0] != w.file {
		t.Errorf("%d %s, written to %s", got.Code, got.Body, w.file)
	}
	if dir, name := filepath.Split(w.file); filepath.Clean(dir) != f.o.CheckpointDir || !strings.HasPrefix(name, "checkpoint-p_ns-c-") {
		t.Errorf("written to %s", w.file)
	}
	w.err = errors.New("CRIU is not there")
	for path, want := range map[string]string{
		"ns/p/c":           "500 checkpointing of ns/p/c failed (CRIU is not there)\n",
		"ns/p/none":        "404 container none does not exist\n",
		"ns/q/c":           "404 pod does not exist\n",
		"ns/p/c?timeout=x": "404 cannot parse value of timeout parameter\n",
		"ns/p/done":        "500 checkpointing of ns/p/done failed (container done not found)\n",
	} {
		if diff := cmp.Diff(want, f.do("POST", "/checkpoint/"+path, "").said()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", path, diff)
		}
	}
}

func TestSummary(t *testing.T) {
	f := open(t, nil)
	for path, want := range map[string]string{
		"/stats/summary": "all", "/stats/summary?only_cpu_and_memory=false": "all", "/stats/summary?only_cpu_and_memory=true": "cpu and memory",
	} {
		var s statsapi.Summary
		got := f.do("GET", path, "")
		if err := json.Unmarshal(got.Body.Bytes(), &s); err != nil || s.Node.NodeName != want {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
	if got := f.do("GET", "/stats/summary?only_cpu_and_memory=so", ""); got.Code != http.StatusBadRequest {
		t.Errorf("not a boolean: %d", got.Code)
	}
}

func TestHealthIsToldInParts(t *testing.T) {
	var sick error
	f := open(t, func(o *Options) { o.Health = func() error { return sick } })
	check := func(path string, code int, want string) {
		t.Helper()
		if got := f.do("GET", path, ""); got.Code != code || got.Body.String() != want {
			t.Errorf("%s: %d %q, want %d %q", path, got.Code, got.Body, code, want)
		}
	}
	check("/healthz", 200, "ok")
	check("/healthz?verbose", 200, "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n")
	check("/healthz/syncloop", 200, "ok")
	sick = errors.New("stuck")
	check("/healthz", 500, "[+]ping ok\n[+]log ok\n[-]syncloop failed: stuck\nhealthz check failed\n")
	check("/healthz/ping", 200, "ok")
	check("/healthz/syncloop", 500, "internal server error: stuck\n")
	check("/healthz/none", 404, "404 page not found\n")
}

func TestSystemLogs(t *testing.T) {
	f := open(t, nil)
	put(t, filepath.Join(f.o.SystemLogs, "one.log"), "first\n")
	put(t, filepath.Join(f.o.SystemLogs, "two", "two.log"), "second\n")
	for query, want := range map[string]string{
		"one.log":                     "200 first\n",
		"two/two.log":                 "200 second\n",
		"none.log":                    "404 404 page not found\n",
		"?query=/one.log":             "200 first\n",
		"?query=one":                  "200 first\n",
		"?query=two":                  "200 second\n",
		"?query=three":                "200 \nlog not found for three\n",
		"?query=one&tailLines=1":      "200 \noptions present and query resolved to log files for [one]\ntry without specifying options\n",
		"?query=+":                    "400 query: Invalid value: [\" \"]: may not be empty\n",
		"?query=/one.log&tailLines=1": "406 query: Invalid value: cannot specify file with options\n",
		"?query=/../../etc/passwd":    "406 openat ../../etc/passwd: path escapes from parent\n",
		"?query=-rf":                  "406 query: Invalid value: \"-rf\": is no name of a service\n",
		"?tailLines=1":                "406 query: Required value: cannot be empty with options\n",
		"one.log?query=one":           "406 path not allowed in query mode\n",
		"?query=one&boot=1":           "406 boot: Invalid value: 1: must be less than 1\n",
		"?query=one&sinceTime=today":  "400 sinceTime: Invalid value: \"today\": invalid time format\n",
	} {
		if diff := cmp.Diff(want, f.do("GET", "/logs/"+query, "").said()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
	}
	files := open(t, func(o *Options) { o.Config.EnableSystemLogQuery = new(false) })
	put(t, filepath.Join(files.o.SystemLogs, "one.log"), "first\n")
	if got := files.do("GET", "/logs/?query=one", ""); !strings.Contains(got.Body.String(), `<a href="one.log">`) {
		t.Errorf("without queries: %d %s", got.Code, got.Body)
	}
}

func TestWhatIsOffSaysSo(t *testing.T) {
	f := open(t, func(o *Options) {
		o.Config.EnableSystemLogHandler, o.Config.EnableProfilingHandler, o.Config.EnableDebugFlagsHandler = new(false), new(false), new(false)
	})
	for path, want := range map[string]string{
		"/logs/": "logs endpoint is disabled.\n", "/debug/pprof/heap": "profiling endpoint is disabled.\n", "/debug/flags/v": "flags endpoint is disabled.\n",
	} {
		if got := f.do("GET", path, ""); got.Code != http.StatusMethodNotAllowed || got.Body.String() != want {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
	f = open(t, func(o *Options) { o.Config.EnableDebuggingHandlers = new(false) })
	for _, path := range []string{"/run/a/b/c", "/exec/a/b/c", "/containerLogs/a/b/c", "/logs/", "/runningpods/"} {
		if got := f.do("GET", path, ""); got.Code != http.StatusMethodNotAllowed || got.Body.String() != "Debug endpoints are disabled.\n" {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
}

func TestVerbosityIsSet(t *testing.T) {
	var set int
	f := open(t, func(o *Options) { o.Verbosity = func(n int) { set = n } })
	if got := f.do("PUT", "/debug/flags/v", "4"); got.Body.String() != "successfully set klog.logging.verbosity to 4" || set != 4 {
		t.Errorf("%d %s, set to %d", got.Code, got.Body, set)
	}
	if got := f.do("PUT", "/debug/flags/v", "more"); got.Code != http.StatusBadRequest {
		t.Errorf("not a number: %d", got.Code)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	f := open(t, nil)
	f.do("GET", "/pods", "")
	f.do("BREW", "/teapot/one", "")
	text := f.do("GET", "/metrics", "").Body.String()
	for _, want := range []string{
		`kubelet_http_requests_total{long_running="false",method="GET",path="pods",server_type="readwrite"} 1`,
		`kubelet_http_requests_total{long_running="false",method="other",path="other",server_type="readwrite"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestSubresources(t *testing.T) { // KEP-2862
	for path, want := range map[string]string{
		"/metrics/cadvisor": "metrics", "/stats/summary": "stats", "/logs/x": "log", "/checkpoint/a/b/c": "checkpoint",
		"/pods": "pods proxy", "/runningpods/": "pods proxy", "/healthz/ping": "healthz proxy", "/configz": "configz proxy",
		"/exec/a/b/c": "proxy", "/containerLogs/a/b/c": "proxy", "/podsx": "proxy",
	} {
		if got := strings.Join(subresources(path), " "); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
