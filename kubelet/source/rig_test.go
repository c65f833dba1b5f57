package source

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// A rig runs a file source on a real directory with real inotify.
type rig struct {
	*testing.T
	top   *testing.T // outlives subtests
	dir   string     // what is watched
	state string
	// settle is longer than a writer is ever kept from going on, so that nothing
	// is seen that it is in the middle of; start has it.
	settle time.Duration
	out    chan Snapshot
	stop   func()
}

// deadline is for events that must come; nothing waits for it to pass.
const deadline = time.Minute

func newRig(t *testing.T) *rig {
	root := t.TempDir()
	r := &rig{
		T: t, top: t, dir: filepath.Join(root, "etc", "manifests"), state: filepath.Join(root, "last-good.json"),
		settle: time.Minute,
	}
	r.mkdir(r.dir)
	return r
}

// run runs a subtest, in which failures are its own.
func (r *rig) run(name string, f func(t *testing.T)) {
	parent := r.T
	defer func() { r.T = parent }()
	parent.Run(name, func(t *testing.T) {
		r.T = t
		f(t)
	})
}

// start runs a source with a periodic list only where asked for.
func (r *rig) start(interval time.Duration) {
	r.Helper()
	ctx, cancel := context.WithCancel(r.top.Context())
	r.out = make(chan Snapshot, 100)
	s := File(FileOptions{
		Path: r.dir, Node: "node1", Interval: interval, State: r.state, Log: slog.New(slog.DiscardHandler),
	})
	s.settle = r.settle
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, func(s Snapshot) { r.out <- s })
	}()
	r.stop = func() { cancel(); <-done }
	r.top.Cleanup(r.stop)
}

func (r *rig) next() Snapshot {
	r.Helper()
	select {
	case s := <-r.out:
		return s
	case <-time.After(deadline):
		r.Fatal("no snapshot came")
		return Snapshot{}
	}
}

// nothingBut says that all that was done before caused no snapshot: the next one
// is that of a marker.
func (r *rig) nothingBut(last Snapshot) {
	r.Helper()
	marker := filepath.Join(r.dir, fmt.Sprintf("zz-%d.yaml", time.Now().UnixNano()))
	r.write(marker, manifestOf("marker", ""))
	s := r.next()
	if !slices.Equal(s.Pods[:len(s.Pods)-1], last.Pods) || s.Pods[len(s.Pods)-1].Name != "marker-node1" {
		r.Fatalf("a change was seen: %v, before %v", names(s), names(last))
	}
	if !slices.Equal(s.Problems, last.Problems) {
		r.Fatalf("problems %v, before %v", s.Problems, last.Problems)
	}
	r.check(os.Remove(marker))
	r.next()
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) mkdir(path string) { r.Helper(); r.check(os.MkdirAll(path, 0o755)) }

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// write writes in place, as an editor or a shell does.
func (r *rig) write(path, content string) {
	r.Helper()
	r.check(os.WriteFile(path, []byte(content), 0o600))
}

// age has a file be as old as one that nobody is in the middle of.
func (r *rig) age(name string) {
	r.Helper()
	r.check(os.Chtimes(r.path(name), time.Now(), time.Now().Add(-time.Hour)))
}

func (r *rig) want(s Snapshot, pods ...string) {
	r.Helper()
	if got := names(s); !slices.Equal(got, pods) {
		r.Fatalf("pods %v, want %v; problems %v", got, pods, s.Problems)
	}
}

// problem asks for a problem about a file and returns it.
func (r *rig) problem(s Snapshot, file string, reason Reason, part string) Problem {
	r.Helper()
	for _, p := range s.Problems {
		if filepath.Base(p.Path) == file && p.Reason == reason && strings.Contains(p.Message, part) {
			return p
		}
	}
	r.Fatalf("no %s of %s with %q among %v", reason, file, part, s.Problems)
	return Problem{}
}

func names(s Snapshot) []string {
	all := []string{}
	for _, p := range s.Pods {
		all = append(all, p.Name)
	}
	return all
}

func find(s Snapshot, name string) *v1.Pod {
	for _, p := range s.Pods {
		if p.Name == name {
			return p
		}
	}
	return &v1.Pod{}
}

func manifestOf(name, arg string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata:
  name: %s
spec:
  containers:
  - name: main
    image: registry.example/app:1
    args: ["%s"]
`, name, arg)
}
