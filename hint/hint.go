// Package hint lets an error tell what the user can do about it.
//
// It decides nothing about how that is shown: cmd prints it beneath the error.
package hint

import "errors"

// hinted is an error together with what the user can do about it.
type hinted struct {
	error
	hint string
}

// Hint returns what to do.
func (h hinted) Hint() string { return h.hint }

// Unwrap returns the error without the hint.
func (h hinted) Unwrap() error { return h.error }

// With returns err, which tells that text is what to do.
func With(err error, text string) error { return hinted{err, text} }

// Of returns what to do about err, as the outermost error in it that has a method
// Hint says; empty if there is none.
func Of(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}
