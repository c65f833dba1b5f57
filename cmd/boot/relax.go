package main

import (
	"context"
	"log/slog"
	"time"

	"boot.internal/timerslack"
)

// watchSlack is how much later than asked for the runtime's own watch may be woken up:
// longer than most of what the loop has to do at once when it is at rest.
const watchSlack = 2 * time.Millisecond

// relax lets the runtime's own watch sleep longer. That only saves processor time, so
// the loop runs on without.
func (l *loop) relax(ctx context.Context) {
	if err := timerslack.Relax(watchSlack); err != nil {
		l.log.LogAttrs(ctx, slog.LevelDebug, "relax the runtime's watch", slog.Any("err", err))
	}
}
