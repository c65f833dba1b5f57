package balancer

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChoose(t *testing.T) {
	now := time.Unix(1000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	local := view{address: "local:1", local: true, listed: true, health: Ready, since: ago(time.Hour)}
	other := view{address: "other:1", listed: true, health: Ready, since: ago(time.Hour)}
	former := view{address: "former:1", health: Ready, since: ago(time.Hour)}
	be := func(v view, h Health, since time.Duration) view {
		v.health, v.since = h, ago(since)
		return v
	}
	for _, c := range []struct {
		name    string
		all     []view
		current string
		use     string
		again   time.Duration
	}{
		{"nobody is known", nil, "", "", 0},
		{"nobody is ready", []view{be(local, Down, 0), be(other, Unready, 0)}, "", "", 0},
		{"this host's own is preferred", []view{other, local}, "", "local:1", 0},
		{"what the cluster lists is preferred", []view{former, other}, "", "other:1", 0},
		{"the first choice waits for a look at the preferred", []view{be(local, Unknown, 100*time.Millisecond), other}, "", "", 200 * time.Millisecond},
		{"but not for long", []view{be(local, Unknown, time.Second), other}, "", "other:1", 0},
		{"nor for another", []view{be(former, Unknown, 0), other}, "", "other:1", 0},
		{"one that is down is left", []view{be(local, Down, 0), other}, "local:1", "other:1", 0},
		{"one that is not ready is left", []view{be(local, Unready, 0), other}, "local:1", "other:1", 0},
		{"but not for one that is no better", []view{be(local, Down, 0), be(other, Down, 0)}, "other:1", "other:1", 0},
		{"what comes back may go again", []view{be(local, Ready, 10*time.Second), other}, "other:1", "other:1", 20 * time.Second},
		{"what is back for good is gone back to", []view{be(local, Ready, 30*time.Second), other}, "other:1", "local:1", 0},
		{"one that nobody knows any more is left", []view{other}, "gone:1", "other:1", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			use, again := choose(c.all, c.current, "node1", now)
			wait := time.Duration(0)
			if !again.IsZero() {
				wait = again.Sub(now)
			}
			if diff := cmp.Diff([]any{c.use, c.again}, []any{use, wait}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Nodes are spread over the servers, and each goes to the same one again.
func TestSpread(t *testing.T) {
	var all []view
	for i := range 3 {
		all = append(all, view{address: fmt.Sprintf("192.0.2.%d:6443", i+1), listed: true, health: Ready})
	}
	count := map[string]int{}
	for i := range 300 {
		node := fmt.Sprintf("worker%d", i)
		use, _ := choose(all, "", node, time.Unix(1000, 0))
		again, _ := choose([]view{all[2], all[0], all[1]}, "", node, time.Unix(2000, 0))
		if use != again {
			t.Fatalf("%s goes to %s, then to %s", node, use, again)
		}
		count[use]++
	}
	for address, n := range count {
		if n < 70 || n > 130 {
			t.Errorf("%s has %d of 300 nodes", address, n)
		}
	}
	if len(count) != 3 {
		t.Errorf("used are %v", count)
	}
}
