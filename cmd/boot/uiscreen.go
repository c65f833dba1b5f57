package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// A screen is a terminal with a few lines at its end that are redrawn in place.
// Whatever else is printed goes above them. Between two writes the cursor is below
// the last line and nothing of the terminal is set otherwise than before: a process
// that is killed leaves text, and no state.
type screen struct {
	terminal io.Writer
	size     func() (columns, rows int)

	mu    sync.Mutex // guards what follows, and the terminal
	block func(columns int) []string
	drawn []int // lengths of the lines that are there now
}

// A terminal has to have this much room for progress to be redrawn on it.
const (
	minColumns = 40
	minRows    = 10
	maxColumns = 120 // longer lines are cut: they are more likely to be wrapped by a resize
)

// openScreen returns the terminal that a writer leads to; nil if there is none that
// can be drawn on.
func openScreen(w io.Writer) *screen {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return nil
	}
	size := func() (int, int) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0, 0
		}
		return columns, rows
	}
	if columns, rows := size(); columns < minColumns || rows < minRows {
		return nil
	}
	return &screen{terminal: f, size: size}
}

// above returns a writer to the same terminal whose lines go above the block.
func (s *screen) above(w io.Writer) io.Writer { return aboveBlock{s, w} }

type aboveBlock struct {
	s *screen
	w io.Writer
}

// Write implements io.Writer.
func (a aboveBlock) Write(p []byte) (int, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.erase()
	n, err := a.w.Write(p)
	if a.s.block != nil && !bytes.HasSuffix(p, []byte("\n")) {
		_, _ = io.WriteString(a.w, "\n")
	}
	a.s.draw()
	return n, err
}

// show draws a block from now on; nil ends that.
func (s *screen) show(block func(columns int) []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.block = block
	s.draw()
}

// redraw draws the block again, which may have changed, as may have the size.
func (s *screen) redraw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.draw()
}

// erase takes the block away. Where the terminal has become narrower since, its
// lines are wrapped by now.
func (s *screen) erase() {
	if len(s.drawn) == 0 {
		return
	}
	columns, _ := s.size()
	up := 0
	for _, length := range s.drawn {
		up++
		if columns > 0 && length > columns {
			up += (length - 1) / columns
		}
	}
	s.drawn = nil
	_, _ = fmt.Fprintf(s.terminal, "\r\x1b[%dA\x1b[J", up)
}

// draw draws the block at the end, if there is room for it now.
func (s *screen) draw() {
	columns, rows := s.size()
	if s.block == nil || columns < minColumns {
		return
	}
	lines := s.block(min(columns, maxColumns) - 1)
	if most := max(rows-2, 1); len(lines) > most {
		rest := fmt.Sprintf("%s %d more lines", sign("…", "~"), len(lines)-most+1)
		lines = append(lines[:most-1:most-1], rest)
	}
	for _, line := range lines {
		s.drawn = append(s.drawn, columnsOf(line))
	}
	if len(lines) > 0 {
		_, _ = io.WriteString(s.terminal, strings.Join(lines, "\n")+"\n")
	}
}

// columnsOf returns how many columns a line takes, without what sets colours.
func columnsOf(line string) int {
	n := 0
	for {
		before, after, found := strings.Cut(line, "\x1b[")
		n += utf8.RuneCountInString(before)
		if !found {
			return n
		}
		_, line, _ = strings.Cut(after, "m")
	}
}

// fitted is a text without control characters, cut to so many columns.
func fitted(text string, columns int) string {
	clean := []rune(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, text))
	if len(clean) <= columns {
		return string(clean)
	}
	if columns < 1 {
		return ""
	}
	return string(clean[:columns-1]) + "…"
}
