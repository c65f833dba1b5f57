package etcd

import (
	"errors"
	"testing"
	"time"
)

// Whoever has no vote goes first, then who is not well: so the rest keeps its
// quorum.
func TestGoingOrder(t *testing.T) {
	all := []Status{
		{Member: Member{ID: 1, Name: "stays"}},
		{Member: Member{ID: 2, Name: "leads"}, Leader: true},
		{Member: Member{ID: 3, Name: "well"}},
		{Member: Member{ID: 4, Name: "dead"}, Err: errors.New("connection refused")},
		{Member: Member{ID: 5, Name: "learns", Learner: true}},
	}
	var order []Member
	for _, s := range goingOrder(all, 1) {
		order = append(order, s.Member)
	}
	if got := Names(order); got != "learns, dead, well, leads" {
		t.Error(got)
	}
}

// A member of three, one of which is dead, is alone afterwards; another that was
// well serves nobody any more.
func TestAlone(t *testing.T) {
	l := newLab(t)
	l.place("a")
	l.start("a")
	c := l.cluster()
	l.expect(c, "aV")
	l.join(c, "b", "a")
	l.join(c, "c", "a", "b")
	l.stop("c")
	l.expect(c, "aV bV cv")
	a, _ := l.find(c, "a")
	ended := make(chan error, 1)
	go func() { ended <- l.members["b"].cmd.Wait() }()
	for range 2 { // a second time there is nothing left to do
		if err := c.Alone(within(t, time.Minute), a.ID); err != nil {
			t.Fatal(err)
		}
		l.expect(c, "aV")
	}
	select {
	case <-ended:
	case <-within(t, time.Minute).Done():
		t.Error("what is removed goes on")
	}
}
