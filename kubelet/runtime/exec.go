package runtime

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Exec runs a command in a container and returns what it wrote, to standard
// output and then to standard error, and its exit code. A timeout of 0 leaves
// the time to ctx. A command that takes too long is killed, and the error is
// context.DeadlineExceeded.
func (r *Runtime) Exec(ctx context.Context, id string, command []string, timeout time.Duration) (out []byte, code int, err error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = r.bounded(ctx, timeout) // the runtime is to give up first: it kills
		defer cancel()
	}
	resp, err := r.o.CRI.ExecSync(ctx, &cri.ExecSyncRequest{
		ContainerId: id, Cmd: command, Timeout: int64(math.Ceil(timeout.Seconds())),
	})
	switch {
	case status.Code(err) == codes.DeadlineExceeded:
		return nil, 0, fmt.Errorf("run command %q: %w after %s", command, context.DeadlineExceeded, timeout)
	case err != nil:
		return nil, 0, fmt.Errorf("run command %q: %w", command, err)
	}
	return append(resp.Stdout, resp.Stderr...), int(resp.ExitCode), nil
}
