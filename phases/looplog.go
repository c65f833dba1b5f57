package phases

import (
	"slices"
	"strconv"
	"strings"

	"boot.internal/logfile"
)

// complaintLines is how far back in the loop's log a complaint may be.
const complaintLines = 400

// A loopLog is the log of the kubelet loop. What keeps a container from being
// made, such as an image that cannot be pulled, the engine does not know.
type loopLog struct {
	path string // empty where a service manager keeps it
	node string
}

// complaint returns the last error that the loop had with a static pod; empty
// if it has none.
func (l loopLog) complaint(pod string) string {
	if l.path == "" {
		return ""
	}
	of := " pod=kube-system/" + pod + "-" + strings.ToLower(l.node) + " "
	for _, line := range slices.Backward(logfile.Tail(l.path, 0, complaintLines)) {
		if _, text, ok := strings.Cut(line, " err="); ok && strings.Contains(line, of) {
			return unquoted(text)
		}
	}
	return ""
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
