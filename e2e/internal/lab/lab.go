// Package lab makes nodes out of namespaces, for end-to-end tests: each has its
// own mounts, network, processes, host name and control groups, on a network
// that nobody else is on. Real programs run there as root on a machine that
// looks freshly installed, and the machine the tests run on does not notice.
//
// A node's root is an overlay of the host's: it has the host's programs, and
// whatever is written stays in the overlay. /var/lib and /var/log are empty
// directories on disk, /run is empty, and there is no service manager.
//
//	go test ── keeper ── init (PID 1 of the node)
//	   │ enters the namespaces of init to run programs and read files
//
// The keeper outlives go test, however that ends, and takes the node down. Nodes
// of one LAN reach each other, over cables that can be cut, slowed, made lossy,
// and a switch that can be split; a node can lose power and come back with its
// disk. A package that uses lab has
//
//	func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }
//
// What can fail returns an error, or takes the test that it is to fail. What is
// tried out on a node is left to the tests.
package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Main runs the tests of a package, or, in the processes that lab starts from
// the same program, what those are for.
func Main(m *testing.M) int {
	if ours, code := Role(); ours {
		return code
	}
	return m.Run()
}

// Role does what this process is for if lab has started it, and returns the exit
// code then. A program that uses lab calls it first of all.
func Role() (ours bool, code int) {
	var err error
	switch os.Getenv(envRole) {
	case "":
		return false, 0
	case roleKeeper:
		err = keep()
	case roleJoin:
		err = join()
	case roleInit:
		err = initNode()
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "lab:", err)
		return true, 1
	}
	return true, 0
}

// The environment tells lab's own processes what they are.
const (
	envRole = "BOOT_LAB"
	envPlan = "BOOT_LAB_PLAN"

	roleKeeper = "keeper"
	roleJoin   = "join" // init, before it has a cgroup namespace
	roleInit   = "init"
)

// A plan is what the processes of a node have to know of it.
type plan struct {
	Name   string // host name
	Cgroup string // in every hierarchy of the host
	Dir    string // on the host's disk, for what the node writes in bulk
	IP     netip.Addr
	IP6    netip.Addr // not valid on a network without IPv6
	Again  bool       // the node was up before, and has its disk from then
}

func (p plan) environ(role string) []string {
	data, _ := json.Marshal(p) // of strings alone
	return append(withoutRole(), envRole+"="+role, envPlan+"="+string(data))
}

// withoutRole returns the environment of go test.
func withoutRole() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, envRole) })
}

func planned() (plan, error) {
	var p plan
	err := json.Unmarshal([]byte(os.Getenv(envPlan)), &p)
	return p, err
}

// A Node is one machine of the lab.
type Node struct {
	Name string
	IP   netip.Addr
	IP6  netip.Addr // not valid on a network without IPv6

	lan    *LAN
	plan   plan
	port   int // of the LAN's switch
	keeper *keeper
	closed func() error

	mu   sync.RWMutex
	on   *running   // nil while the power is off
	jobs [][]string // what a service manager would start at power on
}

// New returns a node on a network of its own, which ends with the test.
func New(t testing.TB) *Node {
	t.Helper()
	return NewLAN(t).Node(t, "node1")
}

// Node adds a node to the network, which ends with the test.
func (l *LAN) Node(t testing.TB, name string) *Node {
	t.Helper()
	n, err := l.Add(name, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Must(t, n.Close()) })
	return n
}

// Must fails the test if there is an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Add adds a node to the network, until it is closed. Its addresses are handed
// out in order, from 10.77.0.2 and fd77::2. The directory, which is to be empty,
// is its disk; it is removed in the end.
func (l *LAN) Add(name, dir string) (*Node, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("nodes are made of namespaces: this needs root")
	}
	port := l.next()
	n := &Node{Name: name, IP: l.address(port), IP6: l.address6(port), lan: l, port: port}
	n.plan = plan{Name: name, Dir: dir, IP: n.IP, IP6: n.IP6, Cgroup: groupPrefix(l.scope) + name}
	n.closed = sync.OnceValue(n.close)
	var err error
	if n.keeper, err = startKeeper(n.plan); err != nil {
		return nil, fmt.Errorf("start node %s: %w", name, err)
	}
	if err := n.PowerOn(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// groupPrefix begins the names of the control groups of a LAN's nodes.
func groupPrefix(scope string) string { return "boot-lab-" + scope + "." }

// Close takes the node away, with its disk. Once is enough.
func (n *Node) Close() error { return n.closed() }

func (n *Node) close() error {
	n.forget()
	if err := n.keeper.end(); err != nil {
		// The keeper was killed, or could not do all of it.
		return errors.Join(fmt.Errorf("take down %s: %w", n.Name, err), sweep(n.plan))
	}
	return n.lan.unplug(n)
}
