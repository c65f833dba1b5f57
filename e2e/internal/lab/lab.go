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
// The keeper outlives go test, however that ends, and takes the node down. A
// package that uses lab has
//
//	func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }
//
// What is tried out on a node is left to the tests.
package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Main runs the tests of a package, or, in the processes that lab starts from
// the same program, what those are for.
func Main(m *testing.M) int {
	var err error
	switch os.Getenv(envRole) {
	case "":
		return m.Run()
	case roleKeeper:
		err = keep()
	case roleJoin:
		err = join()
	case roleInit:
		err = initNode()
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
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

	plan plan
	pid  int // of init, on the host
	fds  namespaces
}

// New returns a node on a network of its own, which ends with the test.
func New(t testing.TB) *Node {
	t.Helper()
	return NewLAN(t).Node(t, "node1")
}

// Node adds a node to the network. Its addresses are handed out in order, from
// 10.77.0.2.
func (l *LAN) Node(t testing.TB, name string) *Node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("nodes are made of namespaces: run the test as root")
	}
	p := plan{Name: name, Dir: t.TempDir(), IP: l.next()}
	// The base name of the temporary directory tells runs and tests apart.
	p.Cgroup = fmt.Sprintf("boot-lab-%d-%s-%s", os.Getpid(), filepath.Base(filepath.Dir(p.Dir)), name)
	n := &Node{Name: name, IP: p.IP, plan: p}
	n.pid = startKeeper(t, p)
	n.fds = openNamespaces(t, n.pid)
	if err := l.attach(n); err != nil {
		t.Fatalf("attach %s to the network: %v", name, err)
	}
	return n
}

// How long the keeper may take to bring a node up, and to take it down.
const (
	upTimeout   = 30 * time.Second
	downTimeout = time.Minute
)

// startKeeper starts the keeper of a node and returns the PID of its init.
func startKeeper(t testing.TB, p plan) (initPID int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // it is to outlive the test
	cmd.Env = p.environ(roleKeeper)
	var said strings.Builder
	cmd.Stderr = &said
	life, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endKeeper(t, cmd, life, &said) })
	overdue := time.AfterFunc(upTimeout, func() { _ = life.Close() })
	defer overdue.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(line, "ready %d\n", &initPID)
	}
	if err != nil {
		_ = life.Close() // it ends by itself then
		_ = cmd.Wait()
		t.Fatalf("start node %s: %v: %s%s", p.Name, err, line, said.String())
	}
	return initPID
}

// endKeeper ends a node and reports what could not be taken away.
func endKeeper(t testing.TB, cmd *exec.Cmd, life io.Closer, said *strings.Builder) {
	if cmd.ProcessState != nil {
		return // it never came up
	}
	overdue := time.AfterFunc(downTimeout, func() { _ = cmd.Process.Kill() })
	defer overdue.Stop()
	_ = life.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("take the node down: %v: %s", err, said.String())
	}
}
