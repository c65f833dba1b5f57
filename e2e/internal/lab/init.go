package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// readyLine is what init tells the keeper once the node can be used.
const readyLine = "ready\n"

// join takes this process, PID 1 of the node, into the node's control groups
// and makes these the root of what the node sees. The namespace is a thread's,
// and becomes the process's by executing it anew.
func join() error {
	p, err := planned()
	if err != nil {
		return err
	}
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, p.Cgroup, "cgroup.procs"), []byte("0"), 0o600); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make cgroup namespace: %w", err)
	}
	return unix.Exec("/proc/self/exe", os.Args, p.environ(roleInit))
}

// initNode is PID 1 of the node: it makes the place, and from then on reaps
// what is left to it, until the keeper closes standard input or dies.
func initNode() error {
	p, err := planned()
	if err != nil {
		return err
	}
	upper, err := makeRoot(p)
	if err != nil {
		return err
	}
	if err := settle(p); err != nil {
		return err
	}
	// Other processes find the directory by this descriptor.
	if err := unix.Dup3(upper, upperFD, 0); err != nil {
		return err
	}
	go reap()
	if _, err := io.WriteString(os.Stdout, readyLine); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// upperFD is the descriptor of init that leads to what the node wrote to its
// root, for Changes.
const upperFD = 77

// reap takes the exit codes of processes whose parents are gone.
func reap() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	for range died {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 && !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
}

// settle gives the node its name and what belongs to it in /etc.
func settle(p plan) error {
	if err := unix.Sethostname([]byte(p.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if p.Again {
		return nil // it has all of it on its disk
	}
	machine := strings.ReplaceAll(fmt.Sprintf("%032x", p.IP.As4()), " ", "0")
	for path, content := range map[string]string{
		"/etc/hostname":    p.Name + "\n",
		"/etc/hosts":       hosts(p),
		"/etc/resolv.conf": "nameserver " + gateway().String() + "\n",
		"/etc/machine-id":  machine + "\n",
	} {
		_ = os.Remove(path) // it may be a link to somewhere else
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, path := range []string{"/etc/kubernetes", "/etc/cni", "/opt/cni", "/etc/containerd", "/etc/crictl.yaml"} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// hosts is the /etc/hosts of a node.
func hosts(p plan) string {
	text := fmt.Sprintf("127.0.0.1\tlocalhost\n::1\tlocalhost\n%s\t%s\n", p.IP, p.Name)
	if p.IP6.IsValid() {
		text += fmt.Sprintf("%s\t%s\n", p.IP6, p.Name)
	}
	return text
}
