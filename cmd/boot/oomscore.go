package main

import (
	"context"
	"log/slog"
	"os"
	"strconv"
)

// setOOMScore says how soon the kernel is to kill this process when memory runs out
// (oomScoreAdj), and with it the engine that it starts; containers have scores of
// their own. A process without CAP_SYS_RESOURCE may only make itself less important.
func (l *loop) setOOMScore(ctx context.Context) {
	score := l.config.Kubelet.OOMScoreAdj
	if score == nil {
		return
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", strconv.AppendInt(nil, int64(*score), 10), 0); err != nil {
		l.log.LogAttrs(ctx, slog.LevelInfo, "set oomScoreAdj", slog.Any("err", err))
	}
}
