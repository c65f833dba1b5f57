package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a keeper is told, a line each, and what it answers.
const (
	sayOn  = "on"  // ready PID
	sayOff = "off" // ready 0
)

// How long the keeper may take to bring a node up, and to take it down.
const (
	upTimeout   = 2 * time.Minute
	downTimeout = 2 * time.Minute
)

// A keeper is the process that keeps a node, seen from whoever started it.
type keeper struct {
	cmd  *exec.Cmd
	life io.Closer // closed, it takes the node down
	said *strings.Builder

	mu  sync.Mutex // one question at a time
	in  io.Writer
	out *bufio.Reader
}

// startKeeper starts the keeper of a node that is off. It has mounts of its own:
// what the node writes to its root is kept there.
func startKeeper(p plan) (*keeper, error) {
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // it is to outlive us
	cmd.Env = p.environ(roleKeeper)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Setsid: true} // a Ctrl-C on the terminal is for us
	k := &keeper{cmd: cmd, said: new(strings.Builder)}
	cmd.Stderr = k.said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	k.in, k.life, k.out = in, in, bufio.NewReader(out)
	return k, cmd.Start()
}

// ask tells the keeper something and returns the PID of the node's init then.
func (k *keeper) ask(word string) (initPID int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	overdue := time.AfterFunc(upTimeout, func() { _ = k.life.Close() })
	defer overdue.Stop()
	if _, err := io.WriteString(k.in, word+"\n"); err != nil {
		return 0, err
	}
	line, err := k.out.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(line, "ready %d\n", &initPID)
	}
	if err != nil { // it ends by itself then
		return 0, errors.Join(fmt.Errorf("%w: %s", err, line), k.end())
	}
	return initPID, nil
}

// end takes the node down and reports what could not be taken away.
func (k *keeper) end() error {
	if k.cmd.ProcessState != nil {
		return nil
	}
	overdue := time.AfterFunc(downTimeout, func() { _ = k.cmd.Process.Kill() })
	defer overdue.Stop()
	_ = k.life.Close()
	if err := k.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, k.said)
	}
	return nil
}
