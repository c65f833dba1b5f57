package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"boot.internal/e2e/internal/lab"
)

// eachLine runs a command on a node to its end, and calls f with each line that it
// says on standard error. The command does not run ahead of f, however slowly that is
// served: there is room for one write between the two, and whoever wants to say more
// waits. So a command that is killed by f has not come to its end meanwhile, unless
// that was a line or two away.
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
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines, buf := lineFunc(f), make([]byte, 64<<10) // what does not fit of a write is lost
		for {
			k, err := r.Read(buf)
			_, _ = lines.Write(buf[:k])
			if err != nil {
				return
			}
		}
	}()
	err = cmd.Wait()
	// Nothing more is written, unless the command has left somebody behind.
	_ = r.SetReadDeadline(time.Now().Add(cmd.WaitDelay))
	<-read
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
