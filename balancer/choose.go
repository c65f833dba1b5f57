package balancer

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"
)

// A view is a server as far as a choice depends on it.
type view struct {
	address string
	local   bool
	listed  bool // the cluster lists it; else it is a seed, or was listed once
	health  Health
	since   time.Time // when it came to be so healthy
}

const (
	// settling is how long a better server has been ready before a good one is
	// left for it: what comes back may go again.
	settling = 30 * time.Second
	// spreading is within how long nodes go back to another host, one by one.
	spreading = 30 * time.Second
	// firstLook is how long a server that is preferred may take to be looked at
	// before the first choice.
	firstLook = 300 * time.Millisecond
)

// choose returns the server to use, "" if none can be told yet, and when to
// choose again though nothing has changed: zero for never. One that is ready is
// only left for one that has long been better. If none is ready, there is no
// reason to leave the one that was.
func choose(all []view, current, node string, now time.Time) (use string, again time.Time) {
	ranked := ranking(all, node)
	if len(ranked) == 0 {
		return "", time.Time{}
	}
	best := ranked[0]
	at := slices.IndexFunc(ranked, func(v view) bool { return v.address == current })
	switch {
	case at < 0 && best.health != Ready:
		return "", time.Time{}
	case at < 0:
		return first(ranked, node, now)
	case best.health != Ready || best.address == current:
		return current, time.Time{}
	case ranked[at].health != Ready:
		return best.address, time.Time{}
	}
	if home := best.since.Add(patience(best, node)); home.After(now) {
		return current, home
	}
	return best.address, time.Time{}
}

// first returns the first choice: those that are preferred and not looked at yet
// get a moment.
func first(ranked []view, node string, now time.Time) (use string, again time.Time) {
	best := ranked[0]
	for _, v := range ranked {
		if due := v.since.Add(firstLook); v.health == Unknown && due.After(now) && prefer(v, best, node) < 0 {
			return "", due
		}
	}
	return best.address, time.Time{}
}

// ranking sorts servers, the best first.
func ranking(all []view, node string) []view {
	ranked := slices.Clone(all)
	slices.SortFunc(ranked, func(a, b view) int {
		return cmp.Or(cmp.Compare(use(a.health), use(b.health)), prefer(a, b, node))
	})
	return ranked
}

// use says how far a server in this state is from being of use.
func use(h Health) int {
	return slices.Index([]Health{Ready, Unknown, Unready, Down}, h)
}

// prefer compares servers that are as healthy as each other: this host's own
// comes first, then those of the cluster, each node with another one first.
func prefer(a, b view, node string) int {
	return cmp.Or(
		yes(b.local)-yes(a.local), yes(b.listed)-yes(a.listed),
		cmp.Compare(lot(node, b.address), lot(node, a.address)), cmp.Compare(a.address, b.address))
}

// patience is how long a better server has to be ready before it is gone back to.
func patience(v view, node string) time.Duration {
	if v.local {
		return settling
	}
	return settling + time.Duration(lot(node, "")%uint64(spreading))
}

// lot is drawn anew for each pair of node and server, and always the same.
func lot(node, address string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node + "\x00" + address)) // never fails
	sum := h.Sum64()
	// What is alike but for its last byte is spread over all bits.
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd
	sum ^= sum >> 33
	return sum
}

func yes(b bool) int {
	if b {
		return 1
	}
	return 0
}
