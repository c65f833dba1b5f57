package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Pressure is how long the tasks of a group have waited for a resource (PSI).
type Pressure struct {
	Some Stall // at least one of them waited
	Full Stall // all that were not idle did
}

// A Stall is time that was lost to waiting: all of it, and the percentage of the
// last 10, 60 and 300 seconds.
type Stall struct {
	Total                time.Duration
	Avg10, Avg60, Avg300 float64
}

// Pressure returns how long a group has waited for "cpu", "memory" or "io". It is
// nil where that is not known: version 1 does not count it, and not every kernel of
// version 2.
func (c *Cgroups) Pressure(group, resource string) *Pressure {
	h, err := c.unified()
	if err != nil || !h.used() {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(h.join(group), resource+".pressure"))
	if err != nil || len(data) == 0 {
		return nil
	}
	var p Pressure
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case "some":
			p.Some = stallOf(f[1:])
		case "full":
			p.Full = stallOf(f[1:])
		}
	}
	return &p
}

// stallOf reads "avg10=0.12 avg60=0.00 avg300=0.00 total=1234", the last in
// microseconds.
func stallOf(pairs []string) Stall {
	var s Stall
	to := map[string]*float64{"avg10": &s.Avg10, "avg60": &s.Avg60, "avg300": &s.Avg300}
	for _, pair := range pairs {
		name, text, _ := strings.Cut(pair, "=")
		if name == "total" {
			us, _ := strconv.ParseUint(text, 10, 64) // the kernel writes no other
			s.Total = micro(us)
		} else if n := to[name]; n != nil {
			*n, _ = strconv.ParseFloat(text, 64)
		}
	}
	return s
}
