package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// A running node is known by its init.
type running struct {
	pid int          // of init, on the host
	ns  [6]namespace // of init
}

// A namespace of init. What has it open keeps it from ending.
type namespace struct {
	kind int
	file *os.File
}

// findRunning opens the namespaces of an init.
func findRunning(pid int) (*running, error) {
	r := &running{pid: pid}
	for i, ns := range []struct {
		name string
		kind int
	}{
		{"cgroup", unix.CLONE_NEWCGROUP},
		{"net", unix.CLONE_NEWNET},
		{"uts", unix.CLONE_NEWUTS},
		{"ipc", unix.CLONE_NEWIPC},
		{"pid", unix.CLONE_NEWPID}, // for children alone
		{"mnt", unix.CLONE_NEWNS},
	} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.name))
		if err != nil {
			r.close()
			return nil, err
		}
		r.ns[i] = namespace{ns.kind, f}
	}
	return r, nil
}

// net returns the network namespace.
func (r *running) net() *os.File { return r.ns[1].file }

func (r *running) close() {
	for _, ns := range r.ns {
		_ = ns.file.Close() // it only pointed at the namespace
	}
}

// came notes that the node is up.
func (n *Node) came(pid int) error {
	r, err := findRunning(pid)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.on = r
	return err
}

// forget lets go of the node, which goes down.
func (n *Node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.on != nil {
		n.on.close()
		n.on = nil
	}
}

// Up reports whether the node has power.
func (n *Node) Up() bool { return n.pid() != 0 }

// pid returns the PID that init has on the host, 0 while the node is off.
func (n *Node) pid() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.on == nil {
		return 0
	}
	return n.on.pid
}

// errOff is why nothing can be done on a node.
var errOff = errors.New("the power is off")

// enter takes the calling thread into the node. It is not to come back.
func (n *Node) enter() error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.on == nil {
		return fmt.Errorf("enter %s: %w", n.Name, errOff)
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // threads share their root otherwise
		return fmt.Errorf("enter %s: %w", n.Name, err)
	}
	for _, ns := range n.on.ns {
		if err := unix.Setns(int(ns.file.Fd()), ns.kind); err != nil {
			return fmt.Errorf("enter %s: %w", n.Name, err)
		}
	}
	return nil
}

// Do calls f inside the node: files it opens and addresses it dials are the
// node's. It must do so itself, not from other goroutines.
func (n *Node) Do(f func() error) error {
	return onThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		return f()
	})
}

// Dial connects to an address as if from inside the node.
func (n *Node) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = n.Do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// Start starts a command inside the node, and in its control groups.
func (n *Node) Start(cmd *exec.Cmd) error {
	if !n.Up() { // nor are there control groups
		return fmt.Errorf("start %s on %s: %w", cmd.Path, n.Name, errOff)
	}
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	return onThread(func() error {
		for _, dir := range dirs {
			group := filepath.Join(dir, n.plan.Cgroup)
			if isUnified(dir) {
				f, err := os.Open(group)
				if err != nil {
					return err
				}
				defer func() { _ = f.Close() }() // opened to point at the group
				if cmd.SysProcAttr == nil {
					cmd.SysProcAttr = &unix.SysProcAttr{}
				}
				cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
				continue
			}
			// Version 1 has groups of threads, and children are born into that
			// of the thread.
			back, err := moveThread(group)
			if err != nil {
				return err
			}
			defer back()
		}
		if err := n.enter(); err != nil {
			return err
		}
		return cmd.Start()
	})
}

// moveThread moves the calling thread to a control group, until back is called,
// from wherever: a group that has one of our threads has us, and is not to be
// removed then, nor killed.
func moveThread(group string) (back func(), err error) {
	tid := []byte(strconv.Itoa(unix.Gettid()))
	parent, err := os.OpenFile(filepath.Join(filepath.Dir(group), "tasks"), os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	back = func() {
		_, _ = parent.Write(tid) // the thread ends anyway
		_ = parent.Close()       // it has been used
	}
	if err := os.WriteFile(filepath.Join(group, "tasks"), tid, 0o600); err != nil {
		back()
		return nil, err
	}
	return back, nil
}

// Listen listens on an address of the node.
func (n *Node) Listen(network, addr string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = new(net.ListenConfig).Listen(context.Background(), network, addr)
		return err
	})
	return l, err
}
