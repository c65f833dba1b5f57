package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A Process runs on a node.
type Process struct {
	PID       int      // as the node sees it
	Args      []string // one that is empty while a program is only being loaded
	Container bool     // in a PID namespace of its own

	host int
}

func (p Process) String() string { return fmt.Sprintf("%d %s", p.PID, strings.Join(p.Args, " ")) }

// Processes returns what runs on the node, its init aside.
func (n *Node) Processes(t testing.TB) []Process {
	t.Helper()
	all, err := n.processes()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (n *Node) processes() ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == n.pid() {
			continue
		}
		if p, ok := n.process(pid); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// process returns a process by its PID on the host, if it is one of the node's
// that is not dead already.
func (n *Node) process(pid int) (Process, bool) {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || !inGroup(string(groups), n.plan.Cgroup) {
		return Process{}, false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || !strings.Contains(string(status), "\nVmSize:") { // it has given back its memory
		return Process{}, false
	}
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return Process{}, false
	}
	p := Process{host: pid, Args: strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")}
	for line := range strings.Lines(string(status)) {
		ids, ok := strings.CutPrefix(line, "NSpid:")
		if fields := strings.Fields(ids); ok && len(fields) > 1 {
			p.PID, _ = strconv.Atoi(fields[1])
			p.Container = len(fields) > 2
		}
	}
	return p, true
}

// inGroup reports whether the lines of a /proc/PID/cgroup have a group of the
// name, and not just one that it is the beginning of.
func inGroup(lines, name string) bool {
	return strings.Contains(lines, "/"+name+"/") || strings.Contains(lines, "/"+name+"\n")
}

// Find returns the processes of the node, outside containers, whose command
// line begins with a program of the first name and has all of the words.
func (n *Node) Find(t testing.TB, program string, words ...string) []Process {
	t.Helper()
	var found []Process
	for _, p := range n.Processes(t) {
		line := strings.Join(p.Args, " ") + " "
		ok := !p.Container && p.Args[0][strings.LastIndex(p.Args[0], "/")+1:] == program
		for _, w := range words {
			ok = ok && strings.Contains(line, w)
		}
		if ok {
			found = append(found, p)
		}
	}
	return found
}

// Kill sends a signal to a process of the node.
func (n *Node) Kill(t testing.TB, p Process, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.host, signal); err != nil {
		t.Fatalf("kill %s: %v", p, err)
	}
}

// KillPID sends a signal to a process by the PID it has on the node, wherever it
// runs there.
func (n *Node) KillPID(t testing.TB, pid int, signal syscall.Signal) {
	t.Helper()
	for _, p := range n.Processes(t) {
		if p.PID == pid {
			n.Kill(t, p, signal)
			return
		}
	}
	t.Fatalf("no process %d on %s", pid, n.Name)
}
