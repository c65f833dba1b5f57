package plan_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/plan/scene"
	"boot.internal/kubelet/pod"
)

// maxSteps is more than any pod of these tests needs to come to rest.
const maxSteps = 60

// The states a container can be found in, as lines of a scene; the usual ones
// come first.
var states = []string{
	"",
	"is %s running",
	"is %s exited code=0 ago=2s",
	"is %s exited code=1 ago=2s backoff=10s attempt=1",
	"is %s running\nprobe %[1]s-0 unhealthy=liveness",
	"is %s unknown",
	"is %s created",
	"is %s running image=old",
	"is %s running in=s attempt=2",
	"is %s running attempt=1\nis %[1]s running attempt=0\nis z-%[1]s unknown",
}

var sandboxes = []string{
	"",
	"sandbox s ready",
	"sandbox s dead",
	"sandbox t ready attempt=1\nsandbox s ready",
	"sandbox s ready no-ip",
	"sandbox s uid=9 ready",
	"sandbox t ready attempt=1\nsandbox s uid=9 dead",
}

var desires = []string{"", "stop grace=5s", "stopping 2s", "nobody", "failure a retry=10s", "failure sandbox retry=10s"}

// Every world a pod of these shapes can be found in comes to rest where it
// should, through sound steps only (see world), and the same plan is made of the
// same world.
func TestEveryWorld(t *testing.T) {
	shapes := [][]string{
		{"regular a"},
		{"init i", "regular a"},
		{"sidecar s startup", "regular a"},
		{"init i", "sidecar s", "regular a"},
		{"regular a policy=OnFailure rule=RestartAllContainers:1", "regular b"},
	}
	for _, shape := range shapes {
		for _, policy := range []string{"Always", "OnFailure", "Never"} {
			t.Run(strings.Join(shape, ", ")+" "+policy, func(t *testing.T) {
				t.Parallel()
				spec := "pod policy=" + policy + "\n" + strings.Join(shape, "\n")
				some := states
				if len(shape) > 2 {
					some = states[:6] // three in all states would take a minute
				}
				everyState(shape, some, func(containers string) {
					for _, sandbox := range sandboxes {
						for _, desire := range desires {
							enter(t, spec, sandbox, containers, desire)
						}
					}
				})
			})
		}
	}
}

// everyState calls f with every combination of the states of the containers.
func everyState(shape, states []string, f func(lines string)) {
	if len(shape) == 0 {
		f("")
		return
	}
	name := strings.Fields(shape[0])[1]
	everyState(shape[1:], states, func(rest string) {
		for _, s := range states {
			line := s
			if s != "" {
				line = fmt.Sprintf(s, name)
			}
			f(rest + "\n" + line)
		}
	})
}

// enter lets one world settle.
func enter(t *testing.T, spec, sandbox, containers, desire string) {
	t.Helper()
	text := strings.Join([]string{spec, sandbox, containers}, "\n")
	nobody := desire == "nobody"
	if !nobody {
		text += "\n" + desire
	}
	s, err := scene.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if nobody {
		s.Want = nil
	}
	w := newWorld(s)
	if one, two := plan.For(w.want, w.have, w.now), plan.For(w.want, w.have, w.now); !reflect.DeepEqual(one, two) {
		t.Fatalf("two plans of one world:\n%v\n%v\n%s", one, two, text)
	}
	if err := w.settle(maxSteps); err != nil {
		t.Fatalf("%v\nin the world\n%s", err, text)
	}
	if nobody && len(w.have.Sandboxes)+len(w.have.Containers) > 0 {
		t.Fatalf("something is left: %+v\nof the world\n%s", w.have, text)
	}
}

// Whatever happens to a pod, in whatever order, every step is sound and it comes
// to rest once things stop happening.
func TestRandomLives(t *testing.T) {
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 1))
		policy := []string{"Always", "OnFailure", "Never"}[r.IntN(3)]
		s, err := scene.Parse("pod policy=" + policy + "\ninit i\nsidecar s startup\nsidecar t\nregular a\n" +
			"regular b policy=Never rule=RestartAllContainers:42\nephemeral e")
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(s)
		for range 40 {
			happen(w, r)
			if n, err := w.step(); err != nil {
				t.Fatalf("seed %d: %v after %v", seed, err, w.log)
			} else if n.Gone {
				w.have.Stopping = time.Time{}
			}
		}
		if err := w.settle(2 * maxSteps); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// happen changes the world in some way.
func happen(w *world, r *rand.Rand) {
	w.now = w.now.Add(time.Duration(r.IntN(20)) * time.Second)
	if len(w.have.Containers) > 0 {
		befall(w, &w.have.Containers[r.IntN(len(w.have.Containers))], r)
	}
	switch r.IntN(12) {
	case 0:
		if len(w.have.Sandboxes) > 0 {
			w.have.Sandboxes[r.IntN(len(w.have.Sandboxes))].Ready = false
		}
	case 1: // the manifest changes
		next := w.want.Pod.DeepCopy()
		next.UID = uid(1 + r.IntN(3))
		w.want = &pod.Want{Pod: next}
	case 2: // an image changes
		next := w.want.Pod.DeepCopy()
		next.Spec.Containers[r.IntN(2)].Image = fmt.Sprint(r.IntN(3))
		w.want = &pod.Want{Pod: next}
	case 3:
		w.want = &pod.Want{Pod: w.want.Pod, Stop: &pod.Stop{Grace: time.Second}}
	case 4:
		w.want = &pod.Want{Pod: w.want.Pod}
	case 5: // the address is lost
		if len(w.have.Sandboxes) > 0 {
			w.have.Sandboxes[0].IPs = nil
		}
	}
}

// befall lets something happen to one container.
func befall(w *world, c *pod.Container, r *rand.Rand) {
	if c.State != pod.Running {
		return
	}
	switch r.IntN(6) {
	case 0:
		w.exit(c, []int32{0, 1, 42}[r.IntN(3)])
	case 1:
		w.verdict(c.ID, pod.Verdict{Started: true, Unhealthy: &pod.Unhealthy{Probe: "liveness"}})
	case 2:
		w.verdict(c.ID, pod.Verdict{Started: true, Ready: true})
	case 3:
		c.State = pod.Unknown
	}
}

// A pod that crash-loops for ever is started every five minutes and never
// removed, and its remains do not pile up.
func TestCrashLoop(t *testing.T) {
	s, err := scene.Parse("pod\nregular a")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(s)
	var waits []time.Duration
	for range 100 {
		n, err := w.step()
		if err != nil {
			t.Fatal(err)
		}
		if n.Wake > 0 && len(n.Actions) == 0 {
			waits = append(waits, n.Wake)
			w.now = w.now.Add(n.Wake)
		}
		if c, ok := w.have.NewestOf("1", "a"); ok && c.State == pod.Running {
			w.exit(&w.have.Containers[0], 1)
		}
		if len(w.have.Containers) > 3 {
			t.Fatalf("%d containers", len(w.have.Containers))
		}
	}
	seconds := func(n time.Duration) time.Duration { return n * time.Second }
	want := []time.Duration{seconds(10), seconds(20), seconds(40), seconds(80), seconds(160), seconds(300), seconds(300)}
	if len(waits) < len(want) || !reflect.DeepEqual(waits[:len(want)], want) {
		t.Errorf("IC-20: waits %v, want %v", waits, want)
	}
}

func TestMaxBackoff(t *testing.T) {
	s, err := scene.Parse("pod\nregular a\nsandbox s\nis a exited ago=1m backoff=6s")
	if err != nil {
		t.Fatal(err)
	}
	for most, want := range map[time.Duration]time.Duration{0: 12 * time.Second, 8 * time.Second: 8 * time.Second, time.Second: time.Second} {
		n := plan.Planner{MaxBackoff: most}.For(s.Want, s.Have, s.Now)
		if got := n.Actions[0].(pod.StartContainer).Backoff; got != want {
			t.Errorf("at most %s: the next one waits %s, want %s", most, got, want)
		}
	}
}
