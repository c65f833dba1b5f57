package config

import (
	"fmt"
	"log/slog"
)

// A Secret is a string that does not show itself: printed or logged in any way
// it reads "[redacted]". It is encoded to JSON and YAML as it is, because the
// documents that hold it must be.
type Secret string

const redacted = "[redacted]"

// Reveal returns what is hidden.
func (s Secret) Reveal() string { return string(s) }

// Format hides the secret from every verb of package fmt; an empty one prints
// as the empty string, so that "not set" can be told.
func (s Secret) Format(f fmt.State, _ rune) {
	if s != "" {
		_, _ = f.Write([]byte(redacted)) // a fmt.State keeps its own errors
	}
}

// String hides the secret from callers that do not go through package fmt.
func (s Secret) String() string { return fmt.Sprint(s) }

// LogValue hides the secret from package slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
