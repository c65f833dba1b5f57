package evict

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A world is a node that a Watch keeps alive: pods use its memory and its disk.
type world struct {
	*testing.T
	host Host
	w    *Watch

	mu   sync.Mutex
	pods []*v1.Pod
	used Usages
	took time.Duration // to measure
	said []string
}

func newWorld(t *testing.T, hard map[string]string, pods ...*v1.Pod) *world {
	all, err := Parse(Config{Hard: hard})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, host: testHost(t), pods: pods, used: Usages{}}
	w.w = New(Options{
		Thresholds: all, Transition: time.Minute, Host: func(context.Context) Host { return w.host },
		Pods: w.running, Usage: w.usage, Free: w.free, Evict: w.evict, Gone: w.gone,
		Conditions: func(c []v1.NodeConditionType) { w.say("conditions %v", c) },
		Starved:    func(what v1.ResourceName) { w.say("reclaim %s", what) },
		Log:        slog.New(slog.DiscardHandler),
	})
	return w
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.w.Run(ctx)
	}()
	w.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

// want checks what was done since the last call.
func (w *world) want(what string, said ...string) {
	w.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got, want := strings.Join(w.said, "; "), strings.Join(said, "; "); got != want {
		w.Errorf("%s: %q, want %q", what, got, want)
	}
	w.said = nil
}

// memory sets how many of the 1000 KiB of memory work.
func (w *world) memory(working int) {
	write(w.T, w.host.Memory, map[string]string{"memory.usage_in_bytes": fmt.Sprint(working<<10 + 102400)})
}

func (w *world) running() []*v1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*v1.Pod(nil), w.pods...)
}

func (w *world) usage(_ context.Context, files bool) (Usages, error) {
	w.mu.Lock()
	used, took := w.used, w.took
	w.mu.Unlock()
	time.Sleep(took)
	w.say("measure, files %t", files)
	return used, nil
}

// uses sets what pods use, and how long it takes to find out.
func (w *world) uses(used Usages, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used, w.took = used, took
}

func (w *world) free(_ context.Context, s Step) error {
	w.say("free %s", s)
	return nil
}

func (w *world) evict(e Eviction) { w.say("evict %s for %s", e.Pod.Name, e.Cause) }

func (w *world) gone(p *v1.Pod) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !slices.Contains(w.pods, p)
}

// end takes a pod away.
func (w *world) end(name string, memory int) {
	w.mu.Lock()
	for i, p := range w.pods {
		if p.Name == name {
			w.pods = append(w.pods[:i:i], w.pods[i+1:]...)
			break
		}
	}
	w.mu.Unlock()
	w.memory(memory)
	w.w.Poke()
}

func TestWatchMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"memory.available": "100Ki"}, testPod("a", 0, ""), testPod("b", 0, ""))
		w.used = Usages{"a": {Memory: 500 << 10}, "b": {Memory: 400 << 10}}
		w.run()
		time.Sleep(time.Hour)
		w.want("all is well")

		w.memory(950)
		w.w.Poke()
		w.want("one pod goes", "conditions [MemoryPressure]", "reclaim memory", "measure, files false", "evict a for memory.available")
		time.Sleep(10 * time.Second)
		w.want("nobody else before it is gone")

		w.end("a", 910)
		w.want("then the next", "reclaim memory", "measure, files false", "evict b for memory.available")
		w.end("b", 500)
		w.want("that does")
		time.Sleep(59 * time.Second)
		w.want("the condition stays for a while")
		time.Sleep(2 * time.Second)
		w.want("and then ends", "conditions []")
	})
}

// A pod that does not end holds up the others for no longer than half a minute.
func TestWatchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"memory.available": "100Ki"}, testPod("a", 0, ""))
		w.memory(950)
		w.run()
		w.want("it is to go", "conditions [MemoryPressure]", "reclaim memory", "measure, files false", "evict a for memory.available")
		w.mu.Lock()
		w.pods = append([]*v1.Pod{testPod("b", -1, "")}, w.pods...)
		w.mu.Unlock()
		time.Sleep(29 * time.Second)
		w.want("it is waited for")
		time.Sleep(2 * time.Second)
		w.want("no longer", "reclaim memory", "measure, files false", "evict b for memory.available")
	})
}

func TestWatchWithoutPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"memory.available": "100Ki"})
		w.memory(950)
		w.run()
		w.want("there is nobody", "conditions [MemoryPressure]", "reclaim memory", "measure, files false")
		time.Sleep(11 * time.Second)
		w.want("and it is tried again", "reclaim memory", "measure, files false")
	})
}

func TestWatchDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"nodefs.available": "99.999%"}, testPod("a", 0, ""))
		w.run()
		w.want("what nobody needs goes first", "conditions [DiskPressure]", "reclaim ephemeral-storage",
			"free dead containers", "free unused images", "measure, files true", "evict a for nodefs.available")
	})
}

// TestWatchLimits has a pod with a limit of its own, which is measured the less
// often the longer that takes.
func TestWatchLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, p := testPod("free", 0, ""), testPod("p", 0, "")
		p.Spec.Volumes[0].EmptyDir.SizeLimit = resource.NewQuantity(mi, resource.BinarySI)
		w := newWorld(t, map[string]string{}, free)
		w.used = Usages{"free": {}, "p": {Volumes: map[string]Disk{"dir": {mi, 1}}}}
		w.run()
		time.Sleep(time.Minute)
		w.want("nobody has a limit")

		w.mu.Lock()
		w.pods = append(w.pods, p)
		w.mu.Unlock()
		time.Sleep(30 * time.Second)
		w.want("every ten seconds", "measure, files true", "measure, files true", "measure, files true")
		w.uses(Usages{"p": {Volumes: map[string]Disk{"dir": {mi, 1}}}}, time.Second)
		time.Sleep(11 * time.Second)
		w.want("that took long", "measure, files true")
		time.Sleep(45 * time.Second)
		w.want("so it is left alone")
		w.uses(Usages{"p": {Volumes: map[string]Disk{"dir": {mi + 1, 1}}}}, time.Second)
		time.Sleep(15 * time.Second)
		w.want("for a while", "measure, files true", "evict p for emptydirfs.limit")
	})
}

// TestWatchLimitsOnABusyMachine measures for ten seconds at a time: a limit is held
// to within a minute all the same.
func TestWatchLimitsOnABusyMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPod("p", 0, "")
		p.Spec.Volumes[0].EmptyDir.SizeLimit = resource.NewQuantity(mi, resource.BinarySI)
		w := newWorld(t, map[string]string{}, p)
		w.uses(Usages{"p": {}}, 10*time.Second)
		w.run()
		time.Sleep(11 * time.Second)
		w.want("at once", "measure, files true")
		w.uses(Usages{"p": {Volumes: map[string]Disk{"dir": {mi + 1, 1}}}}, 10*time.Second)
		time.Sleep(70 * time.Second)
		w.want("within a minute", "measure, files true", "evict p for emptydirfs.limit")
	})
}
