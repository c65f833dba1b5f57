package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// An Output is what a program said and how it ended.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Try runs a program on the node and returns what it said. An error says that
// it could not be run or did not end in time; a program that fails has a Code.
func (n *Node) Try(ctx context.Context, args ...string) (Output, error) {
	cmd := n.Command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	out := Output{Stdout: stdout.String(), Stderr: stderr.String(), Code: -1}
	if cmd.ProcessState != nil {
		out.Code = cmd.ProcessState.ExitCode()
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	return out, err
}

// leftRunning is how long a program that has ended is waited for by those who read
// what it said: what it leaves running may not have let go of its output yet.
const leftRunning = 20 * time.Second

// Command returns a command for Start with the environment of a root shell on
// the node. What it leaves running does not keep its Wait.
func (n *Node) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(withoutRole(), "HOME=/root", "KUBECONFIG=/etc/kubernetes/admin.conf")
	cmd.WaitDelay = leftRunning
	return cmd
}

// Run runs a program on the node, which is to succeed, and returns its output.
func (n *Node) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := n.Try(t.Context(), args...)
	if err != nil || out.Code != 0 {
		t.Fatalf("%s: %v, exit code %d\n%s%s", strings.Join(args, " "), err, out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// Boot runs boot, which is to succeed, and returns its output.
func (n *Node) Boot(t testing.TB, args ...string) string {
	t.Helper()
	return n.Run(t, append([]string{BootBinary(t)}, args...)...)
}

// Kubectl runs kubectl as the cluster's administrator and returns its output.
func (n *Node) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return n.Run(t, append([]string{Component(t, "bin/kubectl")}, args...)...)
}

// Until checks until it is well, and fails the test with the last thing that
// was wrong if that takes too long.
func Until(t testing.TB, limit time.Duration, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("not within %s", limit))
	defer cancel()
	retry := time.NewTicker(50 * time.Millisecond) // whatever is checked has no events in common
	defer retry.Stop()
	var last error // but for that there is no more time
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v: %v", what, context.Cause(ctx), last)
		}
	}
}
