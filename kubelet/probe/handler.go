package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// userAgent is what servers see, and some of them look for.
const userAgent = "kube-probe/1.37"

// maxOutput is how much of what a probe answers is kept.
const maxOutput = 10 << 10

// An answer is what one attempt came to, where one could be made.
type answer struct {
	ok      bool
	warning bool   // ok, but the user should know of it
	output  string // what failed
}

func failed(err error) answer { return answer{output: err.Error()} }

// handlers make attempts. Their contexts end with the probe's timeout, or soon
// after for commands, which the runtime is to end.
type handlers struct {
	http httpHandler
	exec func(ctx context.Context, containerID string, cmd []string, timeout time.Duration) ([]byte, int, error)
}

func newHandlers(o Options) handlers { return handlers{http: newHTTPHandler(), exec: o.Exec} }

// handle makes one attempt. An error says that none could be made.
func (h handlers) handle(ctx context.Context, c *container, p *v1.Probe) (answer, error) {
	switch {
	case p.Exec != nil:
		return h.command(ctx, c, p.Exec.Command, timeoutOf(p))
	case p.HTTPGet != nil:
		port, err := portOf(c.spec, p.HTTPGet.Port)
		if err != nil {
			return answer{}, err
		}
		return h.http.get(ctx, c.ip, port, p.HTTPGet)
	case p.TCPSocket != nil:
		port, err := portOf(c.spec, p.TCPSocket.Port)
		if err != nil {
			return answer{}, err
		}
		return connect(ctx, address(orElse(p.TCPSocket.Host, c.ip), port)), nil
	case p.GRPC != nil:
		return checkGRPC(ctx, address(c.ip, int(p.GRPC.Port)), p.GRPC.Service), nil
	default:
		return answer{}, errors.New("the probe has no handler")
	}
}

// command runs a command in the container; exit code 0 is success.
func (h handlers) command(ctx context.Context, c *container, cmd []string, timeout time.Duration) (answer, error) {
	cmd = expand(cmd, c.spec.Env)
	out, exit, err := h.exec(ctx, c.id, cmd, timeout)
	if errors.Is(err, context.DeadlineExceeded) {
		return failed(fmt.Errorf("command timed out: %q timed out after %s", strings.Join(cmd, " "), timeout)), nil
	}
	if err != nil {
		return answer{}, err
	}
	out = bytes.ToValidUTF8(out[:min(len(out), maxOutput)], nil)
	return answer{ok: exit == 0, output: string(out)}, nil
}

// expand replaces $(NAME) by what the container's spec gives as its value, as
// in the container's own command. What is not known stays, and $$ is $.
func expand(cmd []string, env []v1.EnvVar) []string {
	values := make(map[string]string, len(env))
	for _, e := range env {
		values["$("+e.Name+")"] = e.Value
	}
	references := regexp.MustCompile(`\$\$|\$\([^)]*\)`)
	out := make([]string, len(cmd))
	for i, arg := range cmd {
		out[i] = references.ReplaceAllStringFunc(arg, func(ref string) string {
			if ref == "$$" {
				return "$"
			}
			if v, ok := values[ref]; ok {
				return v
			}
			return ref
		})
	}
	return out
}

// connect tells whether someone listens.
func connect(ctx context.Context, addr string) answer {
	dialer := newDialer()
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return failed(err)
	}
	_ = conn.Close() // nothing was written
	return answer{ok: true}
}

// portOf returns the number of a port, which may be one of the container's
// ports by name.
func portOf(c *v1.Container, port intstr.IntOrString) (int, error) {
	n := port.IntValue() // of a string of digits, too
	if port.Type == intstr.String {
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				n = int(p.ContainerPort)
			}
		}
		if n == 0 {
			return 0, fmt.Errorf("container %s has no port named %q", c.Name, port.StrVal)
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("invalid port number: %d", n)
	}
	return n, nil
}

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
