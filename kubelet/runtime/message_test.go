package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

const stamp = "2026-01-02T03:04:05.678901234Z "

func TestTerminationMessage(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		name     string
		file     string // content of the termination log
		log      string // content of the container's log
		fallback bool
		code     int32
		runtime  string // what the runtime says
		want     string
	}{
		{name: "nothing said"},
		{name: "a message", file: "done", want: "done"},
		{name: "the runtime's word", runtime: "no such file", want: "no such file"},
		{name: "both", runtime: "oops", file: "done", want: "oops: done"},
		{name: "no more than 4096 bytes, the last", file: "start" + long, want: long[:4096]},
		{name: "the log is not for those that succeeded", log: stamp + "stdout F a\n", fallback: true},
		{name: "nor where the policy does not say so", log: stamp + "stdout F a\n", code: 1},
		{name: "nor where there is a message", log: stamp + "stdout F a\n", file: "m", fallback: true, code: 1, want: "m"},
		{name: "the log of one that failed", log: stamp + "stdout F a\n" + stamp + "stderr F b c\n", fallback: true, code: 1, want: "a\nb c\n"},
		{
			name: "lines in parts", log: stamp + "stdout P a\n" + stamp + "stdout P b\n" + stamp + "stdout F c\n" + stamp + "stdout P d\n",
			fallback: true, code: 1, want: "abc\nd",
		},
		{name: "tags of the future", log: stamp + "stdout F:x a\n", fallback: true, code: 1, want: "a\n"},
		{name: "what is no log", log: "nonsense\n" + stamp + "stdout F a\nmore of it", fallback: true, code: 1, want: "a\n"},
		{
			name: "no more than 80 lines", log: strings.Repeat(stamp+"stdout F old\n", 50) + strings.Repeat(stamp+"stdout F new\n", 80),
			fallback: true, code: 1, want: strings.Repeat("new\n", 80),
		},
		{
			name: "no more than 2048 bytes", log: stamp + "stdout F " + long + "\n" + stamp + "stdout F " + long[:3000] + "\n",
			fallback: true, code: 1, want: long[:2047] + "\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"message": c.file, "log": c.log} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := exitedStatus(dir, c.fallback)
			s.ExitCode, s.Message = c.code, c.runtime
			if got := terminationMessage(s); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func exitedStatus(dir string, fallback bool) *cri.ContainerStatus {
	policy := v1.TerminationMessageReadFile
	if fallback {
		policy = v1.TerminationMessageFallbackToLogsOnError
	}
	return &cri.ContainerStatus{
		LogPath: filepath.Join(dir, "log"),
		Mounts: []*cri.Mount{
			{ContainerPath: "/data", HostPath: "/nowhere"},
			{ContainerPath: "/dev/termination-log", HostPath: filepath.Join(dir, "message")},
		},
		Annotations: map[string]string{
			pod.AnnotationTerminationMessagePath: "/dev/termination-log",
			pod.AnnotationTerminationPolicy:      string(policy),
		},
	}
}

// A container may put what it likes where its message is expected.
func TestTerminationMessageIsNoFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "message")
	if got := terminationMessage(exitedStatus(dir, false)); got != "" {
		t.Errorf("no file: %q", got)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("Error on reading termination log %s: read %s: not a regular file", path, path)
	if got := terminationMessage(exitedStatus(dir, false)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
