package config

import (
	"fmt"
	"strings"
)

// A Finding is one thing that is wrong with the configuration.
type Finding struct {
	// File is the file with the setting where it is another than the Source of the
	// [Error]: a drop-in.
	File string
	// Doc is the number of the document in the file, from 1; 0 where the
	// setting is in none.
	Doc int
	// Kind is that of the document the setting belongs to, where known.
	Kind string
	// Line and Column are the place in the file; 0 where unknown.
	Line, Column int
	// Field is the path of the setting in its document, or the flag it was
	// given by: "networking.podSubnet", "--pod-network-cidr".
	Field string
	// Message says what is wrong.
	Message string
	// Hint says what to do about it; it may be empty.
	Hint string
}

// String shows the finding in one line.
func (f Finding) String() string {
	parts := make([]string, 0, 4)
	if place := f.place(); place != "" {
		parts = append(parts, place)
	}
	if f.Field != "" {
		parts = append(parts, f.Field)
	}
	parts = append(parts, f.Message)
	s := strings.Join(parts, ": ")
	if f.Hint != "" {
		s += "; " + f.Hint
	}
	return s
}

func (f Finding) place() string {
	var parts []string
	if f.File != "" {
		parts = append(parts, f.File)
	}
	switch {
	case f.Doc > 0 && f.Kind != "":
		parts = append(parts, fmt.Sprintf("document %d (%s)", f.Doc, f.Kind))
	case f.Doc > 0:
		parts = append(parts, fmt.Sprintf("document %d", f.Doc))
	}
	if f.Line > 0 {
		parts = append(parts, fmt.Sprintf("line %d", f.Line))
	}
	if f.Column > 0 {
		parts = append(parts, fmt.Sprintf("column %d", f.Column))
	}
	return strings.Join(parts, ", ")
}

// An Error lists everything that is wrong with a configuration, in the order
// of the file. Its text holds the hints, because each belongs to its finding.
type Error struct {
	// Source is the name of the file, empty where flags alone are to blame.
	Source string
	// Findings is never empty.
	Findings []Finding
}

// Error lists the findings, one a line where there are several.
func (e *Error) Error() string {
	lead := "configuration"
	if e.Source != "" {
		lead = "read " + e.Source
	}
	if len(e.Findings) == 1 {
		return lead + ": " + e.Findings[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d problems", lead, len(e.Findings))
	for _, f := range e.Findings {
		b.WriteString("\n  " + f.String())
	}
	return b.String()
}
