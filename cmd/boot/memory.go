package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// gcPercent makes the collector run more often than by default. A process that
// mostly waits has the time, and shares its host with those that need memory.
const gcPercent = 20

// profileRate is after how many bytes the profile of the heap takes a sample, on
// average. The default of 512 KiB is made for programs with much more of it: each
// call stack that is found touches a page of the profile's table, which comes to half
// a MiB at rest. What grows for long is found with fewer samples too.
const profileRate = 8 << 20

// frugal keeps the heap of a process that stays for good small, unless its
// environment says otherwise.
func frugal() {
	runtime.MemProfileRate = profileRate
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// forgetOthers drops the commands beside one that runs for good, with their flags and
// what is said of them: 0.1 MB.
func forgetOthers(c *cobra.Command) {
	root := c.Root()
	for _, other := range root.Commands() {
		if other != c {
			root.RemoveCommand(other)
		}
	}
}

// How often the loop looks whether it has come to rest after work, which nobody tells
// a process, and what it has to have allocated since the last look for that to count
// as work: twice as much as at rest.
const (
	restEvery = 15 * time.Second
	work      = 8 << 20 // bytes
)

// stayFrugal gives back memory whenever there was work and is none any more, until
// ctx ends. The first work is the start.
func stayFrugal(ctx context.Context) {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	for s := (spell{work: true}); ; {
		select {
		case <-tick.C:
			if s.ends(allocated()) {
				giveBack()
			}
		case <-ctx.Done():
			return
		}
	}
}

// A spell is a time of work or of rest.
type spell struct {
	work  bool
	total uint64 // bytes allocated when it was looked at last
}

// ends reports whether work has ended, now that so much was allocated in all.
func (s *spell) ends(total uint64) bool {
	worked := s.work
	s.work, s.total = total-s.total > work, total
	return worked && !s.work
}

// allocated returns how many bytes the process ever allocated.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// giveBack returns to the kernel what only work took that is over: heap that is free
// now, and pages of the binary, the whole packed engine among them. Pages that
// are needed again come from the page cache.
func giveBack() {
	debug.FreeOSMemory()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return // it only saves memory
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, m := range clean(smaps, exe) {
		advise(m, unix.MADV_NOHUGEPAGE) // or 2 MiB come back where 4 KiB are needed
		advise(m, unix.MADV_DONTNEED)
	}
}

// advise tells the kernel of a mapping. Some do not know all advice.
func advise(m mapping, advice uintptr) {
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, advice)
}

// A mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// clean returns the mappings of a file that are not writable and were not
// written to before: what is in them is in the file.
func clean(smaps []byte, file string) []mapping {
	var found []mapping
	var m mapping
	ours := false
	for lines := bufio.NewScanner(bytes.NewReader(smaps)); lines.Scan(); {
		line := lines.Text()
		var next mapping
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %4s", &next.start, &next.end, &mode); n == 3 {
			m = next
			ours = (mode == "r-xp" || mode == "r--p") && strings.HasSuffix(line, " "+file)
			continue
		}
		if kib, ok := strings.CutPrefix(line, "Anonymous:"); ok && ours && strings.TrimSpace(kib) == "0 kB" {
			found = append(found, m)
		}
	}
	return found
}
