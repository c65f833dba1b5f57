package server

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// Streams is the runtime as the one who runs commands in containers: it
// answers with the URL of a stream, which requests are then passed on to. The
// client of CRI is one.
type Streams interface {
	Exec(ctx context.Context, r *cri.ExecRequest, o ...grpc.CallOption) (*cri.ExecResponse, error)
	Attach(ctx context.Context, r *cri.AttachRequest, o ...grpc.CallOption) (*cri.AttachResponse, error)
	PortForward(ctx context.Context, r *cri.PortForwardRequest, o ...grpc.CallOption) (*cri.PortForwardResponse, error)
}

// handleStreams adds exec, attach and port-forward, with the UID of the pod or
// without, as upstream has them.
func (s *Server) handleStreams(mux *http.ServeMux) {
	for path, open := range map[string]func(*http.Request, *v1.Pod) (string, error){
		"/exec/{namespace}/{pod}/{container}":         s.exec,
		"/exec/{namespace}/{pod}/{uid}/{container}":   s.exec,
		"/attach/{namespace}/{pod}/{container}":       s.attach,
		"/attach/{namespace}/{pod}/{uid}/{container}": s.attach,
		"/portForward/{namespace}/{pod}":              s.portForward,
		"/portForward/{namespace}/{pod}/{uid}":        s.portForward,
	} {
		mux.HandleFunc(path, s.stream(open))
	}
}

// stream opens a stream at the runtime and passes the connection on to it.
func (s *Server) stream(open func(*http.Request, *v1.Pod) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := s.streamed(r)
		var location string
		if err == nil {
			location, err = open(r, p)
		}
		var target *url.URL
		if err == nil {
			target, err = url.Parse(location)
		}
		if err != nil {
			answerError(w, err)
			return
		}
		pass(w, r, target)
	}
}

// streamed returns the pod of a request. One that is static may be named by its
// own UID or by that of its mirror (SP-57).
func (s *Server) streamed(r *http.Request) (*v1.Pod, error) {
	namespace, name, uid := r.PathValue("namespace"), r.PathValue("pod"), types.UID(r.PathValue("uid"))
	p, ok := s.pod(namespace, name)
	if ok && uid != "" && uid != p.UID {
		mirror := types.UID("")
		if s.o.MirrorUID != nil {
			mirror, _ = s.o.MirrorUID(&p)
		}
		ok = uid == mirror
	}
	if !ok {
		return nil, refuse(http.StatusNotFound, "pod does not exist")
	}
	return &p, nil
}

// running returns the runtime's ID of a container that runs.
func running(r *http.Request, p *v1.Pod) (string, error) {
	name := r.PathValue("container")
	status, ok := statusOf(p, name)
	if !ok || status.State.Running == nil {
		return "", fmt.Errorf("container not found (%q)", name)
	}
	return runtimeID(status.ContainerID), nil
}

func (s *Server) exec(r *http.Request, p *v1.Pod) (string, error) {
	id, err := running(r, p)
	if err != nil {
		return "", err
	}
	f, err := flowsOf(r.URL.Query())
	if err != nil {
		return "", err
	}
	answer, err := s.o.Streams.Exec(r.Context(), &cri.ExecRequest{
		ContainerId: id, Cmd: r.URL.Query()["command"], Tty: f.tty, Stdin: f.stdin, Stdout: f.stdout, Stderr: f.stderr,
	})
	if err != nil {
		return "", fmt.Errorf("exec: %w", err)
	}
	return answer.GetUrl(), nil
}

func (s *Server) attach(r *http.Request, p *v1.Pod) (string, error) {
	id, err := running(r, p)
	if err != nil {
		return "", err
	}
	f, err := flowsOf(r.URL.Query())
	if err != nil {
		return "", err
	}
	tty := ttyOf(p, r.PathValue("container")) // of the process that runs; whoever attaches has no say
	answer, err := s.o.Streams.Attach(r.Context(), &cri.AttachRequest{
		ContainerId: id, Tty: tty, Stdin: f.stdin, Stdout: f.stdout, Stderr: f.stderr && !tty,
	})
	if err != nil {
		return "", fmt.Errorf("attach: %w", err)
	}
	return answer.GetUrl(), nil
}

func ttyOf(p *v1.Pod, container string) bool {
	d, ok := pod.Find(p, container)
	return ok && d.TTY
}

func (s *Server) portForward(r *http.Request, p *v1.Pod) (string, error) {
	sandbox, err := s.o.Sandbox(r.Context(), p.UID)
	if err != nil {
		return "", fmt.Errorf("find sandbox: %w", err)
	}
	ports, err := portsOf(r.URL.Query())
	if err != nil {
		return "", err
	}
	answer, err := s.o.Streams.PortForward(r.Context(), &cri.PortForwardRequest{PodSandboxId: sandbox, Port: ports})
	if err != nil {
		return "", fmt.Errorf("forward ports: %w", err)
	}
	return answer.GetUrl(), nil
}

// portsOf returns the ports that a query names; SPDY names them later, in the
// stream.
func portsOf(q url.Values) ([]int32, error) {
	var ports []int32
	for _, text := range q["port"] {
		for one := range strings.SplitSeq(text, ",") {
			n, err := strconv.ParseUint(one, 10, 16)
			if err != nil || n == 0 {
				return nil, refuse(http.StatusBadRequest, "%q is no port", one)
			}
			ports = append(ports, int32(n))
		}
	}
	return ports, nil
}

// Flows are the standard streams of a command.
type flows struct{ stdin, stdout, stderr, tty bool }

// flowsOf reads them from a query. A terminal has no stderr of its own.
func flowsOf(q url.Values) (flows, error) {
	f := flows{
		stdin: q.Get("input") == "1", stdout: q.Get("output") == "1",
		stderr: q.Get("error") == "1", tty: q.Get("tty") == "1",
	}
	if f.tty {
		f.stderr = false
	}
	if !f.stdin && !f.stdout && !f.stderr {
		return f, refuse(http.StatusBadRequest, "you must specify at least 1 of stdin, stdout, stderr")
	}
	return f, nil
}
