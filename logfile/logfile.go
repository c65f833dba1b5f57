// Package logfile reads the end of log files and keeps those small whose
// writers, like a container engine that outlives boot, cannot rotate them.
//
// It decides nothing about what is logged.
package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// tailBytes bounds how much of a log is read for its last lines.
const tailBytes = 64 << 10

// Tail returns at most n last lines of what the file holds behind offset, for
// an error message. A file that cannot be read has none.
func Tail(path string, offset int64, n int) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || end <= offset {
		return nil
	}
	from := max(offset, end-tailBytes)
	data := make([]byte, end-from)
	if _, err := f.ReadAt(data, from); err != nil {
		return nil
	}
	return lastLines(data, n)
}

func lastLines(data []byte, n int) []string {
	var lines []string
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, string(line))
		}
	}
	return lines[max(0, len(lines)-n):]
}

// Open opens the file for another process to append to, and returns with it
// where that process will begin.
func Open(path string) (f *os.File, offset int64, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, 0, fmt.Errorf("open log: %w", err)
	}
	f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, 0, fmt.Errorf("open log: %w", err)
	}
	offset, err = f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open log %s: %w", path, err), f.Close())
	}
	return f, offset, nil
}

// Shrink moves the content of a file larger than limit to the same name with
// ".1" and goes on with an empty one. The file itself stays, because its writer
// has it open, for appending; a line written during the copy may be lost.
func Shrink(path string, limit int64) error {
	fi, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && fi.Size() <= limit {
		return nil
	}
	if err != nil {
		return fmt.Errorf("shrink log: %w", err)
	}
	if err := copyFile(path+".1", path); err != nil {
		return fmt.Errorf("shrink log: %w", err)
	}
	if err := os.Truncate(path, 0); err != nil {
		return fmt.Errorf("shrink log: %w", err)
	}
	return nil
}

func copyFile(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}
