package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// atOnce is how many workers join at the same time; ten do, where the machine has
// room for them.
const atOnce = 3

// TestWorkers has one control plane and workers that come and go.
func TestWorkers(t *testing.T) {
	f := newFleet(t, 1, 2)
	var m *mesh
	t.Run("pods, Services and names across nodes", func(t *testing.T) {
		m = newMesh(t, f, f.nodes()...)
		m.check(t)
	})
	if m == nil || t.Failed() {
		return
	}
	t.Run("a worker loses power and comes back", func(t *testing.T) { f.powerCut(t, m, f.workers[0]) })
	t.Run("a join killed at every change", func(t *testing.T) {
		n := furnished(t, f.lan, "killed")
		killEverywhere(t, n, f.cluster.JoinWorker()[1:]...)
		f.awaitNodes(t, n)
		f.leave(t, n)
	})
	t.Run("reset and join again", func(t *testing.T) { f.rejoin(t) })
	t.Run("another machine under the name of one that is gone", func(t *testing.T) { f.replace(t, m) })
	t.Run("workers join at once", func(t *testing.T) {
		var all []*lab.Node
		for i := range atOnce {
			all = append(all, furnished(t, f.lan, fmt.Sprint("many", i+1)))
		}
		f.join(t, nil, all)
		f.awaitNodes(t, all...)
	})
}

// powerCut takes the power from a node and gives it back. Its pods run again, and
// are reached by all.
func (f *fleet) powerCut(t *testing.T, m *mesh, n *lab.Node) {
	before := m.container(t, n)
	lab.Must(t, n.Restart())
	f.awaitNodes(t, n)
	m.awaitAnew(t, n, before)
	m.check(t)
}

// rejoin resets a worker, which has nothing left then, and has it join again.
func (f *fleet) rejoin(t *testing.T) {
	n := f.lan.Node(t, "again") // without images: a purge takes those, too
	t.Cleanup(func() { checkLog(t, n) })
	before := n.State(t)
	for range 2 {
		n.Share(t)
		f.join(t, nil, []*lab.Node{n})
		f.awaitNodes(t, n)
		n.Boot(t, "reset", "--force", "--purge")
		after := slices.DeleteFunc(n.State(t), func(line string) bool { return strings.HasPrefix(line, leftover) })
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("the machine (-before +after):\n%s", diff)
		}
		f.forget(t, n)
	}
}

// replace has the machine of a worker vanish, and another one join by its name.
func (f *fleet) replace(t *testing.T, m *mesh) {
	old := f.workers[1]
	before := m.container(t, old)
	lab.Must(t, old.Close())
	n := furnished(t, f.lan, old.Name)
	f.workers[1] = n

	out, err := n.Try(t.Context(), f.cluster.JoinWorker()...)
	if err != nil || out.Code == 0 || !strings.Contains(out.Stderr, old.Name) || !strings.Contains(out.Stderr, "hint: ") {
		t.Errorf("joined under a name that is in use: %v, exit code %d: %s", err, out.Code, out.Stderr)
	}
	f.forget(t, old)
	f.join(t, nil, []*lab.Node{n})
	f.awaitNodes(t, n)
	m.awaitAnew(t, n, before) // its pods are still wanted there
	m.check(t)
}

// leave takes a worker out of the cluster, and its machine away.
func (f *fleet) leave(t *testing.T, n *lab.Node) {
	t.Helper()
	checkLog(t, n)
	lab.Must(t, n.Close())
	f.forget(t, n)
}

// forget deletes the Node of a machine that is gone.
func (f *fleet) forget(t *testing.T, n *lab.Node) {
	t.Helper()
	if err := f.client.CoreV1().Nodes().Delete(t.Context(), n.Name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// killEverywhere runs a command of boot again and again. Each run is killed as
// soon as it says something that no run before has, until one has nothing new to
// say. That one is to succeed.
func killEverywhere(t *testing.T, n *lab.Node, args ...string) {
	t.Helper()
	heard := map[string]bool{}
	for {
		news, said, code := runUntilNews(t, n, heard, args)
		if news != "" {
			heard[news] = true
			t.Logf("killed at %q", news)
			continue
		}
		if code != 0 {
			t.Fatalf("exit code %d after %d kills: %s", code, len(heard), said)
		}
		break
	}
	if len(heard) < 5 {
		t.Errorf("it was killed only at %v", heard)
	}
}

// runUntilNews runs a command of boot, and kills it at what has not been heard.
func runUntilNews(t *testing.T, n *lab.Node, heard map[string]bool, args []string) (news, said string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := n.Command(ctx, append([]string{lab.BootBinary(t)}, args...)...)
	all := new(bytes.Buffer)
	cmd.Stderr = lineFunc(func(line string) {
		all.WriteString(line + "\n")
		if line = change(line); line != "" && news == "" && !heard[line] {
			news = line
			_ = cmd.Process.Kill() // it may have ended
		}
	})
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code tells
	if ctx.Err() != nil {
		t.Fatalf("it does not end: %s", all)
	}
	return news, all.String(), cmd.ProcessState.ExitCode()
}

// change returns a line that tells of a change, and "" for all others.
func change(line string) string {
	phase, what, ok := strings.Cut(line, "] ")
	if !ok || !strings.HasPrefix(phase, "[") || strings.HasPrefix(what, "done in ") || strings.HasPrefix(what, "waiting: ") {
		return ""
	}
	return line
}

// lineFunc returns a writer that calls f for every line.
func lineFunc(f func(line string)) *lineWriter { return &lineWriter{f: f} }

type lineWriter struct {
	f    func(line string)
	rest []byte
}

func (w *lineWriter) Write(data []byte) (int, error) {
	w.rest = append(w.rest, data...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(data), nil
		}
		w.rest = rest
		w.f(string(line))
	}
}
