package phases

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// complaintLines is how far back in the loop's log a complaint may be, and loopLines
// how much of the log of a loop that has ended is worth showing.
const (
	complaintLines = 400
	loopLines      = 10
)

// A LoopLog is what the kubelet loop logs to, a file or a service manager's journal.
// The zero value is a terminal, from which nothing can be read.
type LoopLog struct {
	Where string // it can be read: a file, or a command
	// Tail returns at most so many last lines, none if it cannot read any.
	Tail func(ctx context.Context, lines int) []string
}

// tail reads the end of the log, also when ctx has ended: what is asked for is why.
func (l LoopLog) tail(ctx context.Context, lines int) []string {
	if l.Tail == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	return l.Tail(ctx, lines)
}

// complaint returns the last error that the loop of a node had with a static pod;
// empty if it has none. What keeps a container from being made, such as an image that
// cannot be pulled, the engine does not know.
func (l LoopLog) complaint(ctx context.Context, node, pod string) string {
	of := "kube-system/" + pod + "-" + strings.ToLower(node)
	for _, line := range slices.Backward(l.tail(ctx, complaintLines)) {
		if err := errorOf(line, of); err != "" {
			return err
		}
	}
	return ""
}

// errorOf returns the error of a pod that a line tells of, as text or as JSON; empty
// if it tells of none.
func errorOf(line, pod string) string {
	if _, text, ok := strings.Cut(line, " err="); ok && strings.Contains(line, " pod="+pod+" ") {
		return unquoted(text)
	}
	var record struct{ Pod, Err string }
	if at := strings.IndexByte(line, '{'); at < 0 || json.Unmarshal([]byte(line[at:]), &record) != nil || record.Pod != pod {
		return ""
	}
	return record.Err
}

// unquoted returns the value that text begins with, as slog writes values.
func unquoted(text string) string {
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil { // a single word
		word, _, _ := strings.Cut(text, " ")
		return word
	}
	value, _ := strconv.Unquote(quoted) // it is well quoted
	return value
}
