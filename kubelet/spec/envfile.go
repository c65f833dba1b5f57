package spec

import (
	"fmt"
	"strings"
)

// envFileValue returns the value of a key in a file of variables, or "" if it is
// not there. The format is a strict part of a shell's (KEP-3721):
//
//	# a comment
//	KEY='value, taken literally,
//	on as many lines as it takes' # another comment
//
// A space before "=" is an error; one after it makes the value empty, as it does
// in a shell. Lines after the one that has the key are not looked at.
func envFileValue(data []byte, key string) (string, error) {
	lines := envLines{rest: string(data)}
	for {
		line, ok := lines.next()
		if !ok {
			return "", nil
		}
		line = strings.TrimLeft(line, " \t")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, err := lines.assignment(line)
		if err != nil {
			return "", fmt.Errorf("invalid environment variable format at line %d: %w", lines.number, err)
		}
		if name == key {
			return value, nil
		}
	}
}

// envLines are the lines of a file that are left.
type envLines struct {
	rest   string
	number int // of the line taken last, from 1
}

func (l *envLines) next() (line string, ok bool) {
	if l.rest == "" {
		return "", false
	}
	line, l.rest, _ = strings.Cut(l.rest, "\n")
	l.number++
	return strings.TrimSuffix(line, "\r"), true
}

// assignment splits a line into name and value, and takes as many more lines as
// the value has.
func (l *envLines) assignment(line string) (name, value string, err error) {
	name, rest, found := strings.Cut(line, "=")
	switch {
	case !found:
		return "", "", fmt.Errorf("missing '='")
	case strings.Trim(name, " \t") == "":
		return "", "", fmt.Errorf("empty variable name")
	case strings.TrimRight(name, " \t") != name:
		return "", "", fmt.Errorf("whitespace before '=' is not allowed")
	case strings.HasPrefix(rest, " "), strings.HasPrefix(rest, "\t"):
		return name, "", nil
	case !strings.HasPrefix(rest, "'"):
		return "", "", fmt.Errorf("value must be enclosed in single quotes")
	}
	value, err = l.quoted(rest[1:])
	return name, value, err
}

// quoted reads on to the closing quote.
func (l *envLines) quoted(line string) (string, error) {
	var value strings.Builder
	for {
		part, after, closed := strings.Cut(line, "'")
		value.WriteString(part)
		if closed {
			if after = strings.TrimLeft(after, " \t"); after != "" && !strings.HasPrefix(after, "#") {
				return "", fmt.Errorf("unexpected content after closing quote")
			}
			return value.String(), nil
		}
		value.WriteByte('\n')
		var ok bool
		if line, ok = l.next(); !ok {
			return "", fmt.Errorf("unclosed single quote")
		}
	}
}
