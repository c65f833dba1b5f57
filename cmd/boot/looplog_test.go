package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"
)

// logged has everything logged that there may be, and returns what of it was.
func logged(l *loopLog, out *bytes.Buffer) string {
	out.Reset()
	l.Debug("own debug")
	l.Info("own info")
	klog.V(4).Info("library 4")
	klog.Info("library info")
	klog.Error("library error")
	var found []string
	for _, text := range []string{"own debug", "own info", "library 4", "library info", "library error"} {
		if strings.Contains(out.String(), text) {
			found = append(found, text)
		}
	}
	return strings.Join(found, ", ")
}

func TestLoopLog(t *testing.T) {
	t.Cleanup(func() {
		bridgeLogs(slog.New(slog.DiscardHandler))
		(&loopLog{}).set(0)
	})
	var out bytes.Buffer
	l := (&ui{err: &out}).newLoopLog(&logsapi.LoggingConfiguration{Verbosity: 2})
	for _, c := range []struct {
		verbosity int
		want      string
	}{
		{-1, "own info, library error"},
		{0, "own info, library error"},
		{1, "own info, library info, library error"},
		{4, "own debug, own info, library 4, library info, library error"},
		{0, "own info, library error"},
	} {
		l.set(c.verbosity)
		if got := logged(l, &out); got != c.want {
			t.Errorf("at %d: %s; want %s", c.verbosity, got, c.want)
		}
	}
	l = (&ui{err: &out, verbosity: 2}).newLoopLog(&logsapi.LoggingConfiguration{})
	if got, want := logged(l, &out), "own debug, own info, library info, library error"; got != want {
		t.Errorf("with -v 2: %s; want %s", got, want)
	}
}

func TestLoopLogFormat(t *testing.T) {
	t.Cleanup(func() { bridgeLogs(slog.New(slog.DiscardHandler)) })
	for format, isJSON := range map[string]bool{"": false, "text": false, "json": true} {
		var out bytes.Buffer
		l := (&ui{err: &out}).newLoopLog(&logsapi.LoggingConfiguration{Format: format})
		l.Info("own", slog.String("pod", "a/b"))
		klog.Error("library")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("format %q: %q", format, lines)
		}
		for _, line := range lines {
			if json.Valid([]byte(line)) != isJSON {
				t.Errorf("format %q: %s", format, line)
			}
		}
	}
}
