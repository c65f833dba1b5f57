package fake

import (
	"strconv"
	"strings"
	"time"
)

// A Program is what a container does once it runs.
type Program struct {
	// Runs is how long it runs; 0 means until it is stopped.
	Runs time.Duration
	// AtOnce makes it exit the moment it started, whatever Runs says.
	AtOnce bool
	Code   int32 // exit code at its own end
	// Missing makes it not start at all, as when the image has no such file.
	Missing bool

	StopCode   int32         // exit code after the stop signal
	StopTakes  time.Duration // how long it goes on after the stop signal
	IgnoreTerm bool          // only a kill ends it

	Memory uint64 // bytes that it uses

	// Log is what it writes to its log, line by line, once it starts.
	Log []string
	// Write is a file it writes once it starts, such as its termination log.
	Write, Text string
}

// Script makes the instances of the named container run these programs, one
// after the other, the last one over and over. Containers without a script do
// what the commands of the test image would: sleep, exit, trap-term, log,
// write; ls finds nothing; anything else runs until it is stopped, unless it is a path of nothing
// there.
func (c *CRI) Script(name string, programs ...Program) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.scripts[name] = programs
}

// OnExec answers commands that are executed in containers. Without it they do
// what those of the test image would.
func (c *CRI) OnExec(f func(container string, command []string) (out string, code int32)) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.exec = f
}

// programOf returns what the next instance of a container does. mu must be held.
func (s *server) programOf(name string, argv []string) Program {
	script := s.scripts[name]
	if len(script) == 0 {
		return testbox(argv)
	}
	if len(script) > 1 {
		s.scripts[name] = script[1:]
	}
	return script[0]
}

// testbox returns what a command of the test image does.
func testbox(argv []string) Program {
	if len(argv) > 0 && argv[0] == "/testbox" {
		argv = argv[1:]
	}
	arg := func(i int) string {
		if i < len(argv) {
			return argv[i]
		}
		return ""
	}
	switch arg(0) {
	case "sleep":
		return Program{Runs: duration(arg(1)), AtOnce: arg(1) == "0"}
	case "exit":
		d := duration(arg(3))
		return Program{Code: number(arg(1)), Runs: d, AtOnce: d == 0}
	case "trap-term":
		return Program{StopTakes: duration(arg(1)), StopCode: number(arg(2)), Log: []string{"asked to stop"}}
	case "log":
		return logging(int(number(arg(1))), duration(arg(3)))
	case "fill-memory":
		return Program{Memory: uint64(number(arg(1))) << 20, Log: []string{"holding " + arg(1) + " MiB"}}
	case "ls":
		return Program{AtOnce: true, Code: 1, Log: []string{"testbox: open " + arg(1) + ": no such file or directory"}}
	case "exec-ok":
		return Program{AtOnce: true, Log: []string{"ok"}}
	case "write":
		return Program{AtOnce: true, Write: arg(1), Text: strings.Join(argv[min(2, len(argv)):], " ") + "\n"}
	default:
		return Program{Missing: strings.HasPrefix(arg(0), "/") && !strings.HasPrefix(arg(0), "/bin/")}
	}
}

// logging writes n lines. Those it would write later are never seen.
func logging(n int, every time.Duration) Program {
	p := Program{AtOnce: every == 0, Runs: time.Duration(n) * every}
	for i := range n {
		p.Log = append(p.Log, "line "+strconv.Itoa(i+1))
		if every > 0 {
			break
		}
	}
	return p
}

func duration(s string) time.Duration {
	if s == "infinity" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		return time.Duration(seconds * float64(time.Second))
	}
	d, _ := time.ParseDuration(s)
	return d
}

func number(s string) int32 {
	n, _ := strconv.ParseInt(s, 10, 32)
	return int32(n)
}
