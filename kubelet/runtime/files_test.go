package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

func TestLastLog(t *testing.T) {
	for _, c := range []struct {
		files string
		last  uint32
		ok    bool
	}{
		{"", 0, false},
		{"0.log", 0, true},
		{"0.log 10.log 9.log", 10, true},
		{"2.log 3.log.20260102-030405.gz", 3, true},
		{"x.log 7 -1.log 99999999999.log", 0, false},
	} {
		dir := t.TempDir()
		for name := range strings.FieldsSeq(c.files) {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if last, ok := lastLog(dir); last != c.last || ok != c.ok {
			t.Errorf("SP-43 %q: %d, %v", c.files, last, ok)
		}
	}
	if _, ok := lastLog("/no/such/directory"); ok {
		t.Error("SP-43 there are logs in no directory")
	}
}

func TestLogLink(t *testing.T) {
	r := New(Options{ContainerLogsDir: "/var/log/containers"})
	if got, want := r.logLink("ns", "web", "a", "0123"), "/var/log/containers/web_ns_a-0123.log"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	long := filepath.Base(r.logLink("ns", strings.Repeat("p", 250), "a", strings.Repeat("0", 64)))
	if len(long) != 255 || !strings.HasSuffix(long, ".log") {
		t.Errorf("%d characters: %s", len(long), long)
	}
}

func TestAttempt(t *testing.T) {
	r := New(Options{PodLogsDir: t.TempDir()})
	if got := r.attempt(&v1.Pod{}, pod.StartContainer{Name: "a", Attempt: 4}); got != 4 {
		t.Errorf("SP-43 the plan says 4, but it is %d", got)
	}
}
