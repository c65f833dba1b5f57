// Package vm runs boot where most people do: on a machine whose first process is
// systemd and whose control groups are version 2 alone. The machine is emulated,
// so that it needs nothing of the host but processors, and is some ten times slower
// than that.
//
// It decides how such a machine is made, started, reached and put away. There is one
// at a time on a host. The machine is on no network; it is reached by a serial port,
// at whose other end an agent runs programs.
package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"boot.internal/backoff"
	"boot.internal/filelock"
)

// Options are what a machine is made of.
type Options struct {
	// Dir takes its disk, its console and the socket that it is reached by.
	Dir string
	// Files are those it finds below /payload, by their names there. "agent" is to be
	// among them.
	Files map[string]string
	// CPUs and MemoryMB are 1 and 3072 if they are not set.
	CPUs, MemoryMB int
}

// A Machine is one that may be started, several times if it went down in between.
type Machine struct {
	o     Options
	image image
	lock  *filelock.Lock
	cmd   *exec.Cmd  // nil while it is off
	ended chan error // of the emulator
}

// New makes a machine once it is this one's turn. It is off.
func New(ctx context.Context, o Options) (*Machine, error) {
	if o.CPUs == 0 {
		o.CPUs = 1
	}
	if o.MemoryMB == 0 {
		o.MemoryMB = 3072
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	m := &Machine{o: o}
	if m.lock, err = filelock.Take(ctx, filepath.Join(cache, "vm.lock")); err != nil {
		return nil, fmt.Errorf("wait for another machine: %w", err)
	}
	if err := m.make(ctx, cache); err != nil {
		m.lock.Release()
		return nil, err
	}
	return m, nil
}

func (m *Machine) make(ctx context.Context, cache string) error {
	log, err := os.Create(m.path("image.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // it is for people
	if m.image, err = imageIn(ctx, cache, log); err != nil {
		return err
	}
	if err := payload(ctx, m.path("payload.ext4"), m.o.Files); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
		"-b", m.image.root(), m.path("root.qcow2")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make the disk: %w: %s", err, out)
	}
	return nil
}

func (m *Machine) path(name string) string { return filepath.Join(m.o.Dir, name) }

// Socket is where the machine in a directory is reached.
func Socket(dir string) string { return filepath.Join(dir, "port.sock") }

// Start switches the machine on. It is ready once it carries out what Run asks for.
func (m *Machine) Start() error {
	console, err := os.OpenFile(m.path("console.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = console.Close() }() // the emulator has its own
	m.cmd = exec.Command("nice", append([]string{"-n", "10", "qemu-system-x86_64"}, m.args()...)...)
	m.cmd.Stdout, m.cmd.Stderr = console, console
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.cmd = nil
		return fmt.Errorf("start the emulator: %w", err)
	}
	m.ended = make(chan error, 1)
	go func() { m.ended <- m.cmd.Wait() }()
	return nil
}

func (m *Machine) args() []string {
	disk := func(name, format string, more string) string {
		return fmt.Sprintf("file=%s,if=virtio,format=%s,cache=unsafe%s", m.path(name), format, more)
	}
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
		"-smp", strconv.Itoa(m.o.CPUs), "-m", strconv.Itoa(m.o.MemoryMB),
		"-kernel", m.image.kernel(), "-initrd", m.image.initrd(),
		"-append", "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=no",
		"-drive", disk("root.qcow2", "qcow2", ""), "-drive", disk("payload.ext4", "raw", ",readonly=on"),
		"-netdev", "user,id=net,restrict=on,ipv6=off", "-device", "virtio-net-pci,netdev=net",
		"-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
		"-chardev", "socket,id=port,server=on,wait=off,path=" + Socket(m.o.Dir),
		"-device", "virtserialport,chardev=port,name=" + Port,
	}
}

// Run runs a program in the machine as root, with stdin for its input, and waits for
// its end, but no longer than limit. That a machine which starts is not there yet is
// part of the wait. The error says that the program could not be run or did not end.
func (m *Machine) Run(ctx context.Context, limit time.Duration, stdin []byte, args ...string) (Output, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %s", limit))
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case err := <-m.ended:
			m.ended <- err
			cancel()
		case <-done:
		}
	}()
	return Ask(ctx, m.o.Dir, stdin, args...)
}

// Ask is Run of the machine in a directory, whoever has started it. Without a
// deadline it waits for ten minutes.
func Ask(ctx context.Context, dir string, stdin []byte, args ...string) (Output, error) {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
		defer cancel()
	}
	conn, err := dial(ctx, Socket(dir))
	if err != nil {
		return Output{}, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	deadline, _ := ctx.Deadline()
	r := request{ID: fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()), Args: args, Stdin: stdin, Timeout: time.Until(deadline)}
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return Output{}, fmt.Errorf("ask the machine: %w", err)
	}
	for from := json.NewDecoder(conn); ; {
		var a reply
		if err := from.Decode(&a); err != nil {
			return Output{}, fmt.Errorf("hear from the machine: %w: %w", err, context.Cause(ctx))
		}
		if a.ID != r.ID {
			continue // to somebody who is gone
		}
		if a.Err != "" {
			return a.Output, errors.New(a.Err)
		}
		return a.Output, nil
	}
}

// dial connects to the emulator, which makes its socket in its own time.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn, nil
		}
		if !backoff.Sleep(ctx, 50*time.Millisecond) {
			return nil, fmt.Errorf("reach the machine: %w", err)
		}
	}
}

// Off waits until the machine has gone down.
func (m *Machine) Off(ctx context.Context) error {
	if m.cmd == nil {
		return nil
	}
	select {
	case err := <-m.ended:
		m.cmd = nil
		if err != nil {
			return fmt.Errorf("the emulator ended: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the machine has not gone down: %w", context.Cause(ctx))
	}
}

// Close pulls the plug, and lets another machine run.
func (m *Machine) Close() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill() // it has ended already
		<-m.ended
		m.cmd = nil
	}
	m.lock.Release()
}
