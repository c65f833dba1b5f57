package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// Port is the name of the serial port by which machine and tests talk, as
// /dev/virtio-ports shows it.
const Port = "boot.internal"

// A request is a program to run, a reply what became of it. Both are lines of JSON.
type request struct {
	ID      string
	Args    []string
	Stdin   []byte
	Timeout time.Duration
}

type reply struct {
	ID string
	Output
	Err string // it could not be run, or did not end in time
}

// An Output is what a program said and how it ended.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Serve carries out what comes from the port, several requests at a time, until
// that ends. It is the half that is in the machine.
func Serve(ctx context.Context, port io.ReadWriter) error {
	var mu sync.Mutex
	to, from := json.NewEncoder(port), json.NewDecoder(port)
	for {
		var r request
		if err := from.Decode(&r); err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		go func() {
			answer := carryOut(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			_ = to.Encode(answer) // whoever asked is gone
		}()
	}
}

func carryOut(ctx context.Context, r request) reply {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("not within %s", r.Timeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, r.Args[0], r.Args[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(r.Stdin), &stdout, &stderr
	cmd.WaitDelay = time.Second // what it leaves running may hold its output
	err := cmd.Run()
	out := reply{ID: r.ID, Output: Output{Stdout: stdout.String(), Stderr: stderr.String(), Code: -1}}
	if cmd.ProcessState != nil {
		out.Code = cmd.ProcessState.ExitCode()
	}
	switch exit := (*exec.ExitError)(nil); {
	case ctx.Err() != nil:
		out.Err = context.Cause(ctx).Error()
	case err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay):
		out.Err = err.Error()
	}
	return out
}
