// Package timerslack has the runtime's own watch sleep longer after each awakening of a
// process that mostly waits, and keeps processes that it starts from inheriting that.
//
// By the timer slack of a thread, the kernel may let it sleep longer than it asks for, so
// that several awakenings become one: 50 µs by default. Threads and processes inherit it
// from the thread that starts them.
package timerslack

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Own gives the thread of the calling goroutine the timer slack that the process was
// started with, and keeps the goroutine there until release is called: what it starts
// meanwhile inherits that. After Relax any thread may have another one. Whatever starts
// a program in the loop does so in such a moment:
//
//	defer timerslack.Own()()
func Own() (release func()) {
	runtime.LockOSThread()
	// Who may not read that of another thread could not set it either.
	if slack, err := read(os.Getpid()); err == nil {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0)
	}
	return runtime.UnlockOSThread
}

// read returns the timer slack of a thread in nanoseconds. That of the first thread, which
// has the id of the process, is what the process was started with.
func read(tid int) (uint64, error) {
	data, err := os.ReadFile(path(tid))
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
}

// path is where the kernel tells, and is told, the timer slack of a thread: in nanoseconds,
// with CAP_SYS_NICE.
func path(tid int) string { return fmt.Sprintf("/proc/%d/timerslack_ns", tid) }
