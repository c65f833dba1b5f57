package logfile

import (
	"strings"
	"time"
)

// WithoutPrefix returns a line of a container's log without what the engine puts
// before it: time, stream and tag.
func WithoutPrefix(line string) string {
	fields := strings.SplitN(line, " ", 4)
	if len(fields) < 4 {
		return line
	}
	if _, err := time.Parse(time.RFC3339Nano, fields[0]); err != nil {
		return line
	}
	return fields[3]
}
