package service

import "strings"

// hinted is an error together with what the user can do about it.
type hinted struct {
	error
	hint string
}

// Hint says what to do; cmd prints it beneath the error.
func (h hinted) Hint() string { return h.hint }

func (h hinted) Unwrap() error { return h.error }

func hint(err error, text string) error { return hinted{err, text} }

// withLog adds the last lines of a log to err.
func withLog(err error, where string, lines []string) error {
	if len(lines) == 0 {
		return hint(err, "see "+where)
	}
	return hint(err, "the last lines of "+where+":\n  "+strings.Join(lines, "\n  "))
}
