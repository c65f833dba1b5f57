package logfile

import (
	"strings"
	"time"
)

// WithoutPrefix returns a line of a container's log without what the engine puts
// before it: time, stream and tag. They are all there is of an empty line.
func WithoutPrefix(line string) string {
	fields := strings.SplitN(line, " ", 4)
	if len(fields) < 3 {
		return line
	}
	if _, err := time.Parse(time.RFC3339Nano, fields[0]); err != nil {
		return line
	}
	return strings.Join(fields[3:], "")
}
