package main

import (
	"context"
	"log/slog"

	cfssllog "github.com/cloudflare/cfssl/log"
	"k8s.io/klog/v2"
)

// bridgeLogs sends what libraries log where boot logs. They know less of what
// matters here than boot itself, so their chatter is for those who debug.
func bridgeLogs(log *slog.Logger) {
	klog.SetSlogLogger(log)
	cfssllog.SetLogger(cfsslLogger{log})
}

// A cfsslLogger writes the log of cfssl.
type cfsslLogger struct{ log *slog.Logger }

func (l cfsslLogger) say(level slog.Level, text string) {
	l.log.LogAttrs(context.Background(), level, "cfssl", slog.String("message", text))
}

// Debug is part of cfssl's interface, and so are the others.
func (l cfsslLogger) Debug(text string) { l.say(slog.LevelDebug, text) }

// Info tells of every signature.
func (l cfsslLogger) Info(text string) { l.say(slog.LevelDebug, text) }

// Warning tells of what works all the same.
func (l cfsslLogger) Warning(text string) { l.say(slog.LevelDebug, text) }

// Err tells of what the caller gets as an error, too.
func (l cfsslLogger) Err(text string) { l.say(slog.LevelDebug, text) }

// Crit tells of what cannot go on.
func (l cfsslLogger) Crit(text string) { l.say(slog.LevelError, text) }

// Emerg tells of what ends the process.
func (l cfsslLogger) Emerg(text string) { l.say(slog.LevelError, text) }
