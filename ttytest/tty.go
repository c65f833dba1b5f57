// Package ttytest gives tests a terminal: a real one for the program that is
// tested, of which the test sees what a person would see on it.
//
// It understands what boot writes to terminals, text, colours, and the sequences
// that redraw the last lines; anything else fails the test.
package ttytest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A TTY is a terminal.
type TTY struct {
	// File is the program's end.
	File *os.File

	t      testing.TB
	master *os.File
	done   chan struct{} // closed when all that was written is on the screen
	news   chan struct{} // capacity 1: the screen may have changed

	mu      sync.Mutex // guards what follows
	columns int
	lines   []string // whole ones, as long as they were written
	row     int      // of the cursor
	held    string   // the beginning of a sequence
	bad     error    // what was not understood
}

// Open opens a terminal of that size. It is closed when the test ends.
func Open(t testing.TB, columns, rows int) *TTY {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	tty := &TTY{t: t, master: master, done: make(chan struct{}), news: make(chan struct{}, 1), columns: columns, lines: []string{""}}
	if tty.File, err = slave(master); err != nil {
		t.Fatal(errors.Join(err, master.Close()))
	}
	tty.Resize(columns, rows)
	go tty.read()
	t.Cleanup(func() {
		_ = tty.File.Close() // the test may have done so
		<-tty.done
		_ = master.Close()
	})
	return tty
}

// slave opens the program's end of a terminal.
func slave(master *os.File) (*os.File, error) {
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("find terminal: %w", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock terminal: %w", err)
	}
	return os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
}

// Resize makes the terminal another size. Lines that are there are wrapped anew.
func (tty *TTY) Resize(columns, rows int) {
	tty.t.Helper()
	tty.mu.Lock()
	defer tty.mu.Unlock()
	tty.columns = columns
	size := &unix.Winsize{Col: uint16(columns), Row: uint16(rows)} //nolint:gosec // of a test
	if err := unix.IoctlSetWinsize(int(tty.master.Fd()), unix.TIOCSWINSZ, size); err != nil {
		tty.t.Fatal(err)
	}
}

// Screen returns what there is to see, and all that has scrolled out of sight.
func (tty *TTY) Screen() string {
	tty.mu.Lock()
	defer tty.mu.Unlock()
	if tty.bad != nil {
		tty.t.Error(tty.bad)
	}
	return strings.Join(tty.lines, "\n")
}

// Await waits until the screen is as it is to be.
func (tty *TTY) Await(what string, is func(screen string) bool) {
	tty.t.Helper()
	timeout := time.After(2 * time.Minute) // the machine may be busy
	for !is(tty.Screen()) {
		select {
		case <-tty.news:
		case <-timeout:
			tty.t.Fatalf("not seen: %s. The screen:\n%s", what, tty.Screen())
		}
	}
}

// Sees returns whether the screen has a text.
func Sees(text string) func(string) bool {
	return func(screen string) bool { return strings.Contains(screen, text) }
}

// read takes what is written until nobody can write any more.
func (tty *TTY) read() {
	defer close(tty.done)
	buf := make([]byte, 4096)
	for {
		n, err := tty.master.Read(buf)
		tty.mu.Lock()
		tty.write(string(buf[:n]))
		tty.mu.Unlock()
		select {
		case tty.news <- struct{}{}:
		default:
		}
		if err != nil { // the other end is closed everywhere
			return
		}
	}
}

// write does to the screen what a text says.
func (tty *TTY) write(text string) {
	text = tty.held + text
	tty.held = ""
	for text != "" {
		switch text[0] {
		case '\r':
			text = text[1:]
		case '\n':
			text = text[1:]
			tty.row++
			if tty.row == len(tty.lines) {
				tty.lines = append(tty.lines, "")
			}
		case '\x1b':
			end := strings.IndexAny(text, "ABCDHJKmlh")
			if end < 0 {
				tty.held = text
				return
			}
			tty.sequence(text[1:end], text[end])
			text = text[end+1:]
		default:
			end := strings.IndexAny(text, "\r\n\x1b")
			if end < 0 {
				end = len(text)
			}
			tty.lines[tty.row] += text[:end]
			text = text[end:]
		}
	}
}

// sequence does what an escape sequence says.
func (tty *TTY) sequence(number string, verb byte) {
	n, _ := strconv.Atoi(strings.TrimPrefix(number, "["))
	switch verb {
	case 'm': // colours are not seen
	case 'A':
		for ; n > 0 && tty.row > 0; n -= tty.rows(tty.lines[tty.row]) {
			tty.row--
		}
		if n != 0 {
			tty.bad = fmt.Errorf("the cursor went to the middle of line %d of:\n%s", tty.row, strings.Join(tty.lines, "\n"))
		}
	case 'J':
		tty.lines = append(tty.lines[:tty.row], "")
	default:
		tty.bad = fmt.Errorf("unknown sequence %q%c", number, verb)
	}
}

// rows is how many rows a line takes.
func (tty *TTY) rows(line string) int {
	return max(1, (len([]rune(line))+tty.columns-1)/tty.columns)
}
