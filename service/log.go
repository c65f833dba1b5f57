package service

import (
	"strings"

	"boot.internal/hint"
)

// withLog adds the last lines of a log to err.
func withLog(err error, where string, lines []string) error {
	if len(lines) == 0 {
		return hint.With(err, "see "+where)
	}
	return hint.With(err, "the last lines of "+where+":\n  "+strings.Join(lines, "\n  "))
}
