package flannel

import (
	"context"
	"fmt"
	"log/slog"

	v1 "k8s.io/api/core/v1"
)

// eventReason is that of all events about the pod network.
const eventReason = "PodNetwork"

// A telling says each thing once, for as long as it is so. It belongs to the
// goroutine that looks.
type telling struct {
	log   *slog.Logger
	event func(kind, reason, message string)

	last  string            // what it was said to be like
	wrong map[string]bool   // troubles since it last worked
	nodes map[string]string // why pods of a node cannot be reached
}

func newTelling(log *slog.Logger, event func(kind, reason, message string)) *telling {
	return &telling{log: log, event: event, wrong: map[string]bool{}, nodes: map[string]string{}}
}

// trouble says what goes wrong.
func (t *telling) trouble(text string) {
	if t.wrong[text] {
		return
	}
	t.wrong[text] = true
	t.event(v1.EventTypeWarning, eventReason, text)
}

// works says what the network is like.
func (t *telling) works(ctx context.Context, me self, conf Conf) {
	text := fmt.Sprint(me, conf)
	if text == t.last {
		return
	}
	t.last = text
	clear(t.wrong)
	backend := conf.Backend
	if backend != Alloc {
		backend = me.announce().backend
	}
	t.log.LogAttrs(ctx, slog.LevelInfo, "pod network is configured", slog.Any("cidrs", me.cidrs),
		slog.Any("cluster", conf.ClusterCIDRs), slog.String("backend", string(backend)), slog.Int("mtu", me.mtu()))
}

// unreachable says which nodes cannot be reached.
func (t *telling) unreachable(ctx context.Context, problems []problem) {
	now := map[string]string{}
	for _, p := range problems {
		now[p.node] += p.text + "; "
		if t.nodes[p.node] == "" {
			t.log.LogAttrs(ctx, slog.LevelWarn, "pods of a node cannot be reached", slog.String("node", p.node), slog.String("why", p.text))
			t.event(v1.EventTypeWarning, eventReason, p.text)
		}
	}
	t.nodes = now
}
