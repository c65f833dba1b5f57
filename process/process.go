// Package process names processes so that a pid which the kernel has given to
// somebody else is never taken for the process once meant: it goes by pid and
// start time, and signals through a pidfd.
//
// It decides nothing about who may be signalled when; callers do.
package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"boot.internal/atomicfile"
)

// An ID is one process for as long as the host is up. The zero ID is none.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in clock ticks since the host started
}

// ErrEnded reports a process that is gone, or only waits to be reaped.
var ErrEnded = errors.New("process has ended")

// Of returns the ID of the process that has pid now, or an error that wraps
// ErrEnded.
func Of(pid int) (ID, error) {
	st, err := readStat(pid)
	if err != nil {
		return ID{}, err
	}
	if st.ended() {
		return ID{}, fmt.Errorf("pid %d: %w", pid, ErrEnded)
	}
	return ID{PID: pid, Start: st.start}, nil
}

// Alive reports whether the process still runs.
func (id ID) Alive() bool {
	now, err := Of(id.PID)
	return err == nil && now == id
}

// Exe returns the path of the executable, also when the file has been removed
// or replaced since.
func (id ID) Exe() (string, error) {
	exe, err := os.Readlink(procFile(id.PID, "exe"))
	if err != nil {
		return "", fmt.Errorf("read the executable of pid %d: %w", id.PID, err)
	}
	if !id.Alive() {
		return "", fmt.Errorf("pid %d: %w", id.PID, ErrEnded)
	}
	return strings.TrimSuffix(exe, " (deleted)"), nil
}

// Write keeps id in a pid file.
func (id ID) Write(path string) error {
	return atomicfile.Write(path, fmt.Appendf(nil, "%d %d\n", id.PID, id.Start), 0o644)
}

// Read returns the process that a pid file names. It may have ended.
func Read(path string) (ID, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return ID{}, fmt.Errorf("read pid file: %w", err)
	}
	var id ID
	if _, err := fmt.Sscanf(string(data), "%d %d", &id.PID, &id.Start); err != nil {
		return ID{}, fmt.Errorf("read pid file %s: want pid and start time: %w", path, err)
	}
	return id, nil
}

// All returns the processes that run now and that keep says to keep.
func All(keep func(ID) bool) ([]ID, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var ids []ID
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// One that ends while we look is none.
		if id, err := Of(pid); err == nil && keep(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// stat is what we need of /proc/PID/stat.
type stat struct {
	state byte
	start uint64
}

// ended reports a zombie or a process on its way out.
func (s stat) ended() bool { return s.state == 'Z' || s.state == 'X' }

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(procFile(pid, "stat"))
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return stat{}, fmt.Errorf("pid %d: %w", pid, ErrEnded)
	case err != nil:
		return stat{}, fmt.Errorf("read state of pid %d: %w", pid, err)
	}
	return parseStat(string(data))
}

// parseStat reads the fields of proc_pid_stat(5). The second is a name in
// parentheses that may hold anything, so counting starts behind the last one.
func parseStat(line string) (stat, error) {
	const startField = 22 - 3 // the fields behind the name start with number 3
	_, rest, ok := cutLast(line, ") ")
	f := strings.Fields(rest)
	if !ok || len(f) <= startField {
		return stat{}, fmt.Errorf("read process state: unexpected form %q", line)
	}
	start, err := strconv.ParseUint(f[startField], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("read process state: start time: %w", err)
	}
	return stat{state: f[0][0], start: start}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}
