package timerslack

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"time"
)

// Relax lets the runtime's own watch (sysmon) sleep longer than it asks for, by up to
// slack. After each awakening of the process it sleeps for 20 µs at a time until nothing
// is left to do; with a slack longer than that mostly takes, it sleeps once.
//
// What the watch does comes later by as much: it takes the processor from goroutines that
// have had it for 10 ms, or wait for a system call while others could go on. Threads that
// it starts inherit the slack, and those that these start, so that timers of the process
// may be late as well. That is nothing to the loop, whose probes, looks and leases come in
// seconds. Processes must not inherit it: see Own.
//
// It is to be called soon after the start, before ids of threads can have begun anew and
// come near. Where it is not sure which thread the watch is, it returns an error, and
// nothing has changed.
func Relax(slack time.Duration) error {
	if !withoutC() {
		return errors.New("find the runtime's watch: a program with C in it may have other threads before")
	}
	tids, err := threads()
	if err != nil {
		return fmt.Errorf("find the runtime's watch: %w", err)
	}
	tid, err := watch(os.Getpid(), tids)
	if err != nil {
		return fmt.Errorf("find the runtime's watch: %w", err)
	}
	return os.WriteFile(path(tid), strconv.AppendInt(nil, slack.Nanoseconds(), 10), 0)
}

// withoutC reports whether this program is known to be built without C.
func withoutC() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "0"})
}

// threads returns the ids of the threads of this process.
func threads() ([]int, error) {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, err
	}
	var tids []int
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			return nil, err
		}
		tids = append(tids, tid)
	}
	return tids, nil
}

// watch returns the id of the thread of the runtime's watch. It is the first that the
// main thread starts (runtime.main), and never ends. Ids count up, so it has the lowest
// above the main thread's, unless they began anew meanwhile: then some are below.
func watch(pid int, tids []int) (int, error) {
	slices.Sort(tids)
	if len(tids) < 2 || tids[0] != pid {
		return 0, fmt.Errorf("the threads of process %d are %d", pid, tids)
	}
	return tids[1], nil
}
