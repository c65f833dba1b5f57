package certs

import (
	"hash/fnv"
	"time"
)

// Due returns when a certificate is to be renewed on this machine, and false for one
// that is not: its authority's key is elsewhere, or renewing would gain nothing.
//
// That is when a third of its life is left, or up to a tenth of that later: how
// much is of the node's name, so that control planes made in one hour do not renew
// in one hour. What the cluster signs at the request of the loop is another's
// business until a tenth of its life is left. A certificate that does not belong to
// its key is due at once.
func (h Held) Due(node string, now time.Time) (time.Time, bool) {
	if h.CA == "" || h.External || h.clusterSigns() || h.Certificate == nil {
		return time.Time{}, false
	}
	if h.Err != nil {
		return now, true
	}
	life := h.Lives()
	if h.Gain(now) < life/20 {
		return time.Time{}, false
	}
	if h.Rotates {
		return h.Certificate.NotAfter.Add(-life / 10), true
	}
	third := h.Certificate.NotAfter.Add(-life / 3)
	return third.Add(time.Duration(share(node) * float64(life) / 30)), true
}

// Soon says whether a certificate may be renewed along with one that is due: its
// last third has begun, and pods need not be replaced twice.
func (h Held) Soon(now time.Time) bool {
	if h.Certificate == nil || h.Rotates {
		return false
	}
	return h.Left(now) <= h.Lives()/3
}

// Trouble says in words what is wrong with a certificate that nothing on this
// machine will put right; empty if that is nothing.
func (h Held) Trouble(now time.Time) string {
	if h.Certificate == nil {
		return h.Err.Error()
	}
	life := h.Lives()
	end := "ends on " + h.Certificate.NotAfter.UTC().Format(time.DateTime)
	switch left := h.Left(now); {
	case h.CA == "" && !h.External && left < life/10:
		return "the authority " + h.Name + " " + end
	case h.CA == "":
		return "" // whoever has its key is told
	case h.Rotates && h.External && left < life/10:
		return h.Name + " " + end + ", and the cluster has signed no other"
	case !h.Rotates && h.External && left < life/3:
		return h.Name + " " + end + ", and the key of its authority is not on this machine"
	}
	return ""
}

// share is a number from 0 to 1 that is always the same for a name.
func share(name string) float64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return float64(h.Sum32()) / (1 << 32)
}
