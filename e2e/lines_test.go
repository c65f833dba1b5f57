package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"boot.internal/e2e/internal/lab"
)

// eachLine runs a command on a node to its end, and calls f with each line that it
// says on standard error. The command does not run ahead of f, however slowly that is
// served: there is room for one write between the two, and whoever wants to say more
// waits until f has returned. So a command that is killed by f has done no more than
// what comes before its next line.
func eachLine(n *lab.Node, cmd *exec.Cmd, f func(line string)) error {
	r, w, err := narrowPipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // it was only read
	cmd.Stderr = w
	if err := errors.Join(n.Start(cmd), w.Close()); err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() { read <- passOn(r, lineFunc(f)) }()
	err = cmd.Wait()
	// Nothing more is written, unless the command has left somebody behind.
	_ = r.SetReadDeadline(time.Now().Add(cmd.WaitDelay))
	if failed := <-read; !errors.Is(failed, io.EOF) && !errors.Is(failed, os.ErrDeadlineExceeded) {
		err = errors.Join(err, failed)
	}
	return err
}

// passOn writes to w what is written to a narrow pipe, and takes it out of there only
// after that.
func passOn(r *os.File, w io.Writer) error {
	raw, err := r.SyscallConn()
	if err != nil {
		return err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _, _ = out.Close(), in.Close() }() // it is empty
	for buf := make([]byte, 64<<10); ; {              // what does not fit of a write is lost
		if err := duplicate(raw, in); err != nil {
			return err
		}
		n, err := out.Read(buf)
		if err != nil {
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if _, err := r.Read(buf); err != nil {
			return err
		}
	}
}

// duplicate waits until there is something in a pipe, and puts it into another, too.
func duplicate(from syscall.RawConn, to *os.File) error {
	var n int64
	var failed error
	err := from.Read(func(fd uintptr) bool {
		n, failed = unix.Tee(int(fd), int(to.Fd()), 64<<10, unix.SPLICE_F_NONBLOCK)
		return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
	})
	if err = errors.Join(err, failed); err == nil && n == 0 {
		err = io.EOF
	}
	return err
}

// narrowPipe returns a pipe that holds one write at a time.
func narrowPipe() (r, w *os.File, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_DIRECT); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	_, err = unix.FcntlInt(uintptr(ends[1]), unix.F_SETPIPE_SZ, os.Getpagesize())
	err = errors.Join(err, unix.SetNonblock(ends[0], true)) // so that reading has deadlines
	r, w = os.NewFile(uintptr(ends[0]), "pipe"), os.NewFile(uintptr(ends[1]), "pipe")
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("narrow a pipe: %w", err), r.Close(), w.Close())
	}
	return r, w, nil
}

// lineFunc returns a writer that calls f for every line.
func lineFunc(f func(line string)) *lineWriter { return &lineWriter{f: f} }

type lineWriter struct {
	f    func(line string)
	rest []byte
}

func (w *lineWriter) Write(data []byte) (int, error) {
	w.rest = append(w.rest, data...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(data), nil
		}
		w.rest = rest
		w.f(string(line))
	}
}
