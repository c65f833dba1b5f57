package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A power is a node as its keeper has it.
type power struct {
	plan plan
	init *exec.Cmd // nil while the power is off
	life io.Closer // of init, which ends when nobody holds it
}

// keep does what it is told on standard input, until that is closed or whoever
// has the other end dies. Then it takes away what the node leaves on the host:
// its processes, control groups and disk. All else ends with the namespaces.
func keep() error {
	p, err := planned()
	if err != nil {
		return err
	}
	if err := makeScratch(p); err != nil {
		return err
	}
	n := &power{plan: p}
	err = n.obey()
	return errors.Join(err, n.off(), unix.Unmount(scratch(p), unix.MNT_DETACH), sweep(p))
}

// obey does what it is told and says so.
func (n *power) obey() error {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var err error
		pid := 0
		switch lines.Text() {
		case sayOn:
			pid, err = n.up()
		case sayOff:
			err = n.off()
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(os.Stdout, "ready %d\n", pid); err != nil {
			return nil //nolint:nilerr // nobody is there any more
		}
	}
	return nil
}

// up starts the init of the node and returns its PID once the node can be used.
func (n *power) up() (pid int, err error) {
	if err := makeCgroups(n.plan.Cgroup); err != nil {
		return 0, err
	}
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // it ends with its standard input
	cmd.Env = n.plan.environ(roleJoin)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	life, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("make namespaces: %w", err)
	}
	n.init, n.life, n.plan.Again = cmd, life, true
	ready := make([]byte, len(readyLine))
	if _, err := io.ReadFull(out, ready); err != nil {
		return 0, fmt.Errorf("init of the node did not come up: %w", err)
	}
	return cmd.Process.Pid, nil
}

// off kills init, and with PID 1 go all processes of the node.
func (n *power) off() error {
	if n.init != nil {
		_ = n.init.Process.Kill() // it may have been killed by somebody else
		_ = n.init.Wait()         // it was killed
		_ = n.life.Close()        // nobody reads it
		n.init = nil
	}
	return removeCgroups(n.plan.Cgroup)
}

// sweep removes what a node leaves on the host once its processes are gone.
func sweep(p plan) error {
	err := errors.Join(removeCgroups(p.Cgroup), os.RemoveAll(p.Dir))
	_ = os.Remove(filepath.Dir(p.Dir)) // if that was all there; go test may be dead
	return err
}
