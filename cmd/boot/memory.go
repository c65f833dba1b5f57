package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// gcPercent makes the collector run more often than by default. A process that
// mostly waits has the time, and shares its host with those that need memory.
const gcPercent = 50

// frugal keeps the heap of a process that stays for good small, unless its
// environment says otherwise.
func frugal() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// giveBack returns to the kernel what only the start took: heap that is free
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
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
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
