package balancer

import (
	"testing"
	"testing/synctest"
	"time"
)

const deadline = 2 * time.Second // for a server that is dead to be left

// However a server dies, it is left in time; what is only slow is not.
func TestLeft(t *testing.T) {
	for _, c := range []struct {
		becomes string
		within  time.Duration // 0: it is not left
		health  Health
	}{
		{"refused", deadline, Down},
		{"gone", deadline, Down},
		{"hung", 8 * time.Second, Unready},
		{"unready", 8 * time.Second, Unready},
		{"busy", 0, Ready},
		{"forbidden", 0, Ready}, // it has been ready: somebody has changed the rules
	} {
		t.Run(c.becomes, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string]string{"local:1": "ready", "b:1": "ready"})
				b := w.balance(t, Options{Seeds: []string{"local:1", "b:1"}})
				time.Sleep(time.Minute)
				if got := inUse(b); got != "local:1" {
					t.Fatalf("%q is used at first", got)
				}
				w.set("local:1", c.becomes)
				if c.within == 0 {
					time.Sleep(time.Minute)
					if got := inUse(b); got != "local:1" {
						t.Errorf("%q is used", got)
					}
					return
				}
				time.Sleep(c.within)
				if got := inUse(b); got != "b:1" {
					t.Errorf("%q is used after %s", got, c.within)
				}
				all, _ := b.Servers()
				if s := all[1]; s.Address != "local:1" || s.Health != c.health || s.Reason == nil {
					t.Errorf("of the one that was left is known %+v", s)
				}
				w.set("local:1", "ready")
				time.Sleep(settling - time.Second)
				if got := inUse(b); got != "b:1" {
					t.Errorf("%q is used before the other has settled", got)
				}
				time.Sleep(localEvery + readyPatience + deadline)
				if got := inUse(b); got != "local:1" {
					t.Errorf("%q is used after the other has come back", got)
				}
			})
		})
	}
}

// With nobody better there is nothing to leave for, and whoever comes back first
// is used at once.
func TestNobodyLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]string{"a:1": "ready", "b:1": "refused"})
		b := w.balance(t, Options{Seeds: []string{"a:1", "b:1"}})
		time.Sleep(time.Second)
		w.set("a:1", "gone")
		time.Sleep(time.Hour)
		if got := inUse(b); got != "a:1" {
			t.Errorf("%q is used while nobody is ready", got)
		}
		w.set("b:1", "ready")
		time.Sleep(later + time.Millisecond)
		if got := inUse(b); got != "b:1" {
			t.Errorf("%q is used", got)
		}
	})
}

// A server that starts says at first that nobody may ask it; one that goes on
// saying so is used.
func TestForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]string{"a:1": "forbidden"})
		b := w.balance(t, Options{Seeds: []string{"a:1"}})
		time.Sleep(forbidden - time.Second)
		if got := inUse(b); got != "" {
			t.Errorf("%q is used", got)
		}
		time.Sleep(2 * later)
		if got := inUse(b); got != "a:1" {
			t.Errorf("%q is used", got)
		}
	})
}

// Only the server in use is asked often: nodes are many.
func TestSparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]string{"local:1": "ready", "b:1": "ready", "c:1": "refused"})
		b := w.balance(t, Options{Seeds: []string{"local:1"}})
		b.Learn([]string{"local:1", "b:1", "c:1"})
		time.Sleep(10 * time.Minute)
		if got := inUse(b); got != "local:1" {
			t.Fatalf("%q is used", got)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := w.opens["local:1"]; n != 1 {
			t.Errorf("the one in use is connected to %d times", n)
		}
		if n := w.opens["b:1"]; n > 41 {
			t.Errorf("the other is connected to %d times in ten minutes", n)
		}
	})
}

// A server that is the only one is left in peace: a node at rest does little else. It
// is watched closely as soon as there is another to leave it for.
func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]string{"a:1": "ready", "b:1": "ready"})
		b := w.balance(t, Options{Seeds: []string{"a:1"}})
		time.Sleep(10*time.Minute + time.Millisecond)
		w.mu.Lock()
		if n, most := w.pings["a:1"], int(11*time.Minute/aloneReady+11*time.Minute/alonePing); n > most {
			t.Errorf("asked %d times in ten minutes", n)
		}
		w.mu.Unlock()
		b.Learn([]string{"a:1", "b:1"})
		synctest.Wait() // b is known to be ready
		w.set("a:1", "gone")
		time.Sleep(pingEvery + pingPatience + reachPatience + time.Millisecond)
		if got := inUse(b); got != "b:1" {
			t.Errorf("%q is used", got)
		}
	})
}

// A server that is learned of is used when the others are dead.
func TestLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]string{"a:1": "ready", "b:1": "ready"})
		b := w.balance(t, Options{Seeds: []string{"a:1"}})
		time.Sleep(time.Second)
		b.Learn([]string{"b:1"})
		w.set("a:1", "gone")
		time.Sleep(deadline)
		if got := inUse(b); got != "b:1" {
			t.Errorf("%q is used", got)
		}
	})
}
