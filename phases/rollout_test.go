package phases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"boot.internal/atomicfile"
)

// A rolloutWorld is a node whose loop runs whatever its manifest says: pods that
// are "bad" end every second.
type rolloutWorld struct {
	t       *testing.T
	o       RolloutOptions
	path    string
	running string // content of the manifest that runs
	since   time.Time
	slow    time.Duration // how long the loop takes to notice
	changed time.Time
}

func newRolloutWorld(t *testing.T, current string) *rolloutWorld {
	dir := t.TempDir()
	w := &rolloutWorld{t: t, path: filepath.Join(dir, "manifests/etcd.yaml"), running: current, since: time.Now().Add(-time.Hour)}
	w.o = RolloutOptions{
		Manifests: filepath.Dir(w.path), State: dir, Components: w, Service: &fakeService{running: true}, Node: "n1",
		Identify: func(manifest []byte, _ string) (string, error) {
			if bytes.Contains(manifest, []byte("refused")) {
				return "", errors.New("no containers")
			}
			return uidOf(string(manifest)), nil
		},
	}
	w.write(current)
	return w
}

func uidOf(manifest string) string { return strconv.Itoa(int(crc32.ChecksumIEEE([]byte(manifest)))) }

func (w *rolloutWorld) write(content string) {
	w.t.Helper()
	if err := atomicfile.Write(w.path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *rolloutWorld) current() string { return read(w.t, w.path) }

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Look is the loop and the engine.
func (w *rolloutWorld) Look(context.Context) ([]Component, error) {
	if now := w.current(); now != w.running {
		if w.changed.IsZero() {
			w.changed = time.Now()
		}
		if time.Since(w.changed) >= w.slow {
			w.running, w.since, w.changed = now, time.Now(), time.Time{}
		}
	}
	c := Component{Pod: "etcd", PodUID: uidOf(w.running), PodSince: w.since, Container: "etcd", State: ContainerRunning}
	if strings.HasPrefix(w.running, "a: bad") {
		c.Restarts = int(time.Since(w.since) / time.Second)
		c.State, c.ExitCode, c.Reason = ContainerExited, 2, "Error"
	}
	return []Component{c}, nil
}

// to is a run that makes content the manifest.
func (w *rolloutWorld) to(content string) Step {
	return Step{Name: "rollout", Phase: Rollout(w.o, "etcd", func([]byte) ([]byte, error) { return []byte(content), nil })}
}

func (w *rolloutWorld) aside() bool {
	_, err := os.Stat(filepath.Join(w.o.State, "rollout/etcd.yaml"))
	return err == nil
}

func TestRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRolloutWorld(t, "a: old")
		w.slow = 20 * time.Second
		changes, err := runSteps(t.Context(), Runner{}, w.to("a: new"))
		want := []string{
			"keep the manifest of etcd in " + filepath.Join(w.o.State, "rollout/etcd.yaml"), "rewrite " + w.path, "wait for the new etcd",
		}
		if diff := cmp.Diff(want, changes); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if w.running != "a: new" || w.aside() {
			t.Errorf("runs %q, aside %v", w.running, w.aside())
		}
		if again, err := runSteps(t.Context(), Runner{}, w.to("a: new")); err != nil || len(again) > 0 {
			t.Errorf("again: %q, %v", again, err)
		}
	})
}

func TestRolloutReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRolloutWorld(t, "a: old")
		_, err := runSteps(t.Context(), Runner{}, w.to("a: bad"))
		wantError(t, err, "etcd ended 3 times\netcd: container etcd exited with code 2 (Error), restarted 2 times", "")
		wantError(t, err, "etcd runs with its old manifest again", "")
		var back *RolledBackError
		if !errors.As(err, &back) || back.Component != "etcd" {
			t.Errorf("%T", err)
		}
		if w.running != "a: old" || w.aside() {
			t.Errorf("runs %q, aside %v", w.running, w.aside())
		}
	})
}

// Where the old manifest is no good either, it stays aside for the next attempt.
func TestRolloutCannotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRolloutWorld(t, "a: bad as well")
		_, err := runSteps(t.Context(), Runner{}, w.to("a: bad"))
		wantError(t, err, "the old manifest of etcd is back, but: etcd ended 3 times", "")
		if w.current() != "a: bad as well" || !w.aside() {
			t.Errorf("has %q, aside %v", w.current(), w.aside())
		}
	})
}

func TestRolloutNeverWritesWhatIsRefused(t *testing.T) {
	w := newRolloutWorld(t, "a: old")
	_, err := runSteps(t.Context(), Runner{}, w.to("refused"))
	wantError(t, err, "the loop would refuse it: no containers", "")
	if w.current() != "a: old" || w.aside() {
		t.Errorf("has %q, aside %v", w.current(), w.aside())
	}
}

func TestRolloutLooksAtRunningPodsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRolloutWorld(t, "a: old")
		w.slow = time.Hour // the old one goes on, and its probe would be answered
		_, err := runSteps(t.Context(), Runner{}, w.to("a: new"))
		wantError(t, err, "etcd is not healthy after 4m0s", "")
		wantError(t, err, "etcd does not run with its new manifest", "")
	})
}

// A look that time cuts short does not hide what was seen before.
func TestRolloutKeepsWhatWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRolloutWorld(t, "a: old")
		w.o.Timeout = 10 * time.Second
		begun := time.Now()
		w.o.Components = lookWith(func(ctx context.Context) ([]Component, error) {
			all, err := w.Look(ctx)
			if took := time.Since(begun); w.running == "a: new" {
				all[0].State, all[0].ExitCode, all[0].Reason = ContainerExited, 7, "Error"
				if took > 9*time.Second {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			return all, err
		})
		_, err := runSteps(t.Context(), Runner{}, w.to("a: new"))
		wantError(t, err, "etcd is not healthy after 10s\netcd: container etcd exited with code 7 (Error)", "")
	})
}

type lookWith func(context.Context) ([]Component, error)

func (f lookWith) Look(ctx context.Context) ([]Component, error) { return f(ctx) }

// Whatever a run is killed after, the next one finishes the job; and where the new
// pod turns out bad, still knows what to return to.
func TestRolloutGoesOn(t *testing.T) {
	for _, next := range []string{"a: new", "a: bad"} {
		for after := range 4 {
			t.Run(fmt.Sprint(next, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newRolloutWorld(t, "a: old")
					world := &world{t: t}
					if next == "a: new" || after < 3 {
						world.killAfter(after, w.to(next))
					}
					_, err := runSteps(t.Context(), Runner{}, w.to(next))
					want := "a: old"
					if next == "a: new" {
						want = next
					} else {
						wantError(t, err, "etcd ended 3 times", "")
					}
					if w.running != want || w.aside() {
						t.Errorf("runs %q, aside %v", w.running, w.aside())
					}
				})
			})
		}
	}
}

// A run that was killed on its way to one manifest can be followed by one to
// another: what returns is what was known to be good.
func TestRolloutChangesItsMind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRolloutWorld(t, "a: old")
		(&world{t: t}).killAfter(2, w.to("a: new"))
		if _, err := runSteps(t.Context(), Runner{}, w.to("a: bad")); err == nil || w.running != "a: old" {
			t.Errorf("runs %q, %v", w.running, err)
		}
	})
}

func TestRolloutOfNothing(t *testing.T) {
	w := newRolloutWorld(t, "a: old")
	next := func([]byte) ([]byte, error) { t.Error("asked"); return nil, nil }
	changes, err := Rollout(w.o, "kube-apiserver", next).Plan(t.Context())
	if err != nil || len(changes) > 0 {
		t.Error(changes, err)
	}
}

func TestRolloutTurn(t *testing.T) {
	dir := t.TempDir()
	first, err := RolloutTurn(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := RolloutTurn(ctx, dir); err == nil {
		t.Error("two have the turn")
	}
	first.Release()
}

// Whether a pod is healthy is asked in the way that its manifest says.
func TestOwnProbe(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "https://"), ":")
	const pod = `
spec:
  containers:
  - name: a
    ports: [{name: probe-port, containerPort: %s}]
    livenessProbe: {httpGet: {host: 127.0.0.1, port: probe-port, scheme: HTTPS, path: /livez}}
    %s
  - name: none
`
	for _, c := range []struct {
		probe  string
		status int
		err    string
	}{
		{"readinessProbe: {httpGet: {host: 127.0.0.1, port: probe-port, scheme: HTTPS, path: /readyz}}", http.StatusOK, ""},
		{"readinessProbe: {httpGet: {port: " + port + ", scheme: HTTPS, path: /readyz}}", http.StatusOK, ""},
		{"startupProbe: {httpGet: {host: 127.0.0.1, port: probe-port, scheme: HTTPS, path: /readyz}}", http.StatusInternalServerError, "/readyz: 500"},
		{"", http.StatusOK, "/livez: 404"},
	} {
		ask, err := ownProbe(fmt.Appendf(nil, pod, port, c.probe))
		if err != nil {
			t.Fatal(err)
		}
		status = c.status
		err = ask(t.Context())
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %v", c.probe, err)
		}
	}
}
