package main

import (
	"io"
	"log/slog"
	"strconv"

	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"
)

// A loopLog is the log of the loop, as its configuration has it (logging) until
// somebody has it say more or less (/debug/flags/v).
type loopLog struct {
	*slog.Logger
	typed          slog.Level // what -v asks for, at least
	own, libraries slog.LevelVar
}

// newLoopLog returns the log of the loop, to which libraries log from now on, too.
func (u *ui) newLoopLog(c *logsapi.LoggingConfiguration) *loopLog {
	l := &loopLog{typed: u.level()}
	l.Logger = slog.New(newLogHandler(u.err, c.Format, &l.own))
	bridgeLogs(slog.New(newLogHandler(u.err, c.Format, &l.libraries)))
	l.set(int(c.Verbosity))
	return l
}

// set has more or less logged, as klog counts it from 0 on. What is done is always
// logged; of libraries, it is their errors unless there is to be more.
func (l *loopLog) set(verbosity int) {
	asked := slog.Level(-verbosity) // as klog has it: 4 is for those who debug
	l.own.Set(min(l.typed, slog.LevelInfo, asked))
	if verbosity <= 0 {
		asked = slog.LevelWarn
	}
	l.libraries.Set(min(l.typed, asked))
	var all klog.Level
	_ = all.Set(strconv.Itoa(max(verbosity, 0))) // it is a number
}

// newLogHandler returns what writes records as text or as JSON, one line each.
func newLogHandler(to io.Writer, format string, level slog.Leveler) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	if format == logsapi.JSONLogFormat {
		return slog.NewJSONHandler(to, o)
	}
	return slog.NewTextHandler(to, o)
}
