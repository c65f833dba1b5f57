package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// namespaces are descriptors of the namespaces of a node's init.
type namespaces struct{ mnt, net, uts, ipc, pid, cgroup *os.File }

func openNamespaces(t testing.TB, pid int) namespaces {
	t.Helper()
	open := func(name string) *os.File {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() }) // it holds the namespace
		return f
	}
	return namespaces{open("mnt"), open("net"), open("uts"), open("ipc"), open("pid"), open("cgroup")}
}

// enter takes the calling thread into the node. It is not to come back.
func (n *Node) enter() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // threads share their root otherwise
		return fmt.Errorf("enter %s: %w", n.Name, err)
	}
	for _, ns := range []struct {
		file *os.File
		kind int
	}{
		{n.fds.cgroup, unix.CLONE_NEWCGROUP},
		{n.fds.net, unix.CLONE_NEWNET},
		{n.fds.uts, unix.CLONE_NEWUTS},
		{n.fds.ipc, unix.CLONE_NEWIPC},
		{n.fds.pid, unix.CLONE_NEWPID}, // for children alone
		{n.fds.mnt, unix.CLONE_NEWNS},
	} {
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
			if err := os.WriteFile(filepath.Join(group, "tasks"), []byte(strconv.Itoa(unix.Gettid())), 0o600); err != nil {
				return err
			}
		}
		if err := n.enter(); err != nil {
			return err
		}
		return cmd.Start()
	})
}

// Listen listens on an address of the node.
func (n *Node) Listen(network, addr string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = new(net.ListenConfig).Listen(context.Background(), network, addr)
		return err
	})
	return l, err
}
