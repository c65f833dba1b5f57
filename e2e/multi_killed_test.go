package e2e

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"boot.internal/e2e/internal/lab"
)

// killEverywhere runs a command of boot again and again. Each run is killed as
// soon as it says something that no run before has, until one has nothing new to
// say. That one is to succeed.
func killEverywhere(t *testing.T, n *lab.Node, args ...string) {
	t.Helper()
	heard := map[string]bool{}
	for {
		news, said, code := runUntilNews(t, n, heard, args)
		if news != "" {
			heard[news] = true
			t.Logf("killed at %q", news)
			continue
		}
		if code != 0 {
			t.Fatalf("exit code %d after %d kills: %s", code, len(heard), said)
		}
		break
	}
	if len(heard) < 5 {
		t.Errorf("it was killed only at %v", heard)
	}
}

// runUntilNews runs a command of boot, and kills it at what has not been heard.
func runUntilNews(t *testing.T, n *lab.Node, heard map[string]bool, args []string) (news, said string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := n.Command(ctx, append([]string{lab.BootBinary(t)}, args...)...)
	all := new(bytes.Buffer)
	_ = eachLine(n, cmd, func(line string) { // its exit code tells
		all.WriteString(line + "\n")
		if line = change(line); line != "" && news == "" && !heard[line] {
			news = line
			_ = cmd.Process.Kill() // it may have ended
		}
	})
	if cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("it does not end: %s", all)
	}
	return news, all.String(), cmd.ProcessState.ExitCode()
}

// change returns a line that tells of a change, and "" for all others.
func change(line string) string {
	phase, what, ok := strings.Cut(line, "] ")
	if !ok || !strings.HasPrefix(phase, "[") || strings.HasPrefix(what, "done in ") || strings.HasPrefix(what, "waiting: ") {
		return ""
	}
	return line
}
