package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	internalapi "k8s.io/cri-api/pkg/apis"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/logs"
)

// A refusal is an answer to a request that cannot be served.
type refusal struct {
	code    int
	message string
}

func (r *refusal) Error() string { return r.message }

func refuse(code int, format string, a ...any) error {
	return &refusal{code, fmt.Sprintf(format, a...)}
}

// containerLogs answers with the log of a container, as "kubectl logs" asks.
func (s *Server) containerLogs(w http.ResponseWriter, r *http.Request) {
	o, err := logOptions(r.URL.Query(), time.Now())
	if err == nil {
		var log containerLog
		if log, err = s.findLog(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"), o.previous); err == nil {
			w.Header().Set("Content-Type", "text/plain")
			out := flushing{w, http.NewResponseController(w)}
			err = logs.ReadLogs(r.Context(), log.path, log.id, &o.LogOptions, statusOnly{status: s.o.ContainerStatus}, out, out)
		}
	}
	if err == nil || r.Context().Err() != nil {
		return
	}
	code := http.StatusInternalServerError
	if no, ok := err.(*refusal); ok { //nolint:errorlint // made above and never wrapped
		code = no.code
	}
	http.Error(w, err.Error(), code)
}

// A logRequest is what was asked for.
type logRequest struct {
	logs.LogOptions
	previous bool
}

// logOptions reads the fields of v1.PodLogOptions from a query.
func logOptions(q url.Values, now time.Time) (logRequest, error) {
	var o logRequest
	var since *int64
	for name, to := range map[string]any{
		"follow": &o.Follow, "previous": &o.previous, "timestamps": &o.Timestamp,
		"tailLines": &o.TailLines, "limitBytes": &o.LimitBytes, "sinceSeconds": &since, "sinceTime": &o.Since,
	} {
		if text := q.Get(name); text != "" {
			if err := parse(text, to); err != nil {
				return o, refuse(http.StatusBadRequest, "%s: %v", name, err)
			}
		}
	}
	if since != nil {
		o.Since = now.Add(-time.Duration(*since) * time.Second)
	}
	return o, nil
}

func parse(text string, to any) (err error) {
	switch to := to.(type) {
	case *bool:
		*to, err = strconv.ParseBool(text)
	case *time.Time:
		*to, err = time.Parse(time.RFC3339, text)
	case **int64:
		var n int64
		if n, err = strconv.ParseInt(text, 10, 64); err == nil && n < 0 {
			err = fmt.Errorf("%d is negative", n)
		}
		*to = &n
	}
	return err
}

// A containerLog is where the log of one instance of a container is.
type containerLog struct {
	path string
	id   string // for the runtime
}

// findLog returns the log of a container. A static pod is found by the name it
// shares with its mirror, and its log by its own UID (SP-57).
func (s *Server) findLog(namespace, name, container string, previous bool) (containerLog, error) {
	p, ok := s.pod(namespace, name)
	if !ok {
		return containerLog{}, refuse(http.StatusNotFound, "pod %q does not exist", name+"_"+namespace)
	}
	status, ok := statusOf(&p, container)
	if !ok {
		return containerLog{}, refuse(http.StatusBadRequest, "container %q in pod %q is not available", container, name)
	}
	id, attempt := status.ContainerID, int(status.RestartCount)
	if previous {
		last := status.LastTerminationState.Terminated
		if last == nil {
			return containerLog{}, refuse(http.StatusBadRequest, "previous terminated container %q in pod %q not found", container, name)
		}
		id, attempt = last.ContainerID, attempt-1
	}
	if id == "" {
		return containerLog{}, refuse(http.StatusBadRequest, "container %q in pod %q is waiting to start: %s", container, name, waiting(status))
	}
	dir := fmt.Sprintf("%s_%s_%s", namespace, name, p.UID)
	path := filepath.Join(s.o.PodLogsDir, dir, container, strconv.Itoa(attempt)+".log")
	if _, err := os.Stat(path); err != nil {
		return containerLog{}, refuse(http.StatusNotFound, "log of container %q in pod %q: %v", container, name, err)
	}
	return containerLog{path, runtimeID(id)}, nil
}

func (s *Server) pod(namespace, name string) (v1.Pod, bool) {
	for _, p := range s.o.Pods.Pods() {
		if p.Namespace == namespace && p.Name == name {
			return p, true
		}
	}
	return v1.Pod{}, false
}

func statusOf(p *v1.Pod, container string) (v1.ContainerStatus, bool) {
	for _, list := range [][]v1.ContainerStatus{
		p.Status.ContainerStatuses, p.Status.InitContainerStatuses, p.Status.EphemeralContainerStatuses,
	} {
		for _, s := range list {
			if s.Name == container {
				return s, true
			}
		}
	}
	return v1.ContainerStatus{}, false
}

func waiting(s v1.ContainerStatus) string {
	if s.State.Waiting != nil {
		return s.State.Waiting.Reason
	}
	return "unknown"
}

// runtimeID returns the runtime's own ID from "containerd://…".
func runtimeID(id string) string {
	if u, err := url.Parse(id); err == nil && u.Scheme != "" {
		return u.Host
	}
	return id
}

// A flushing writer sends everything at once: whoever follows a log waits for
// each line.
type flushing struct {
	io.Writer
	control *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

// A statusOnly runtime knows the one thing that following a log asks for.
type statusOnly struct {
	internalapi.RuntimeService
	status func(ctx context.Context, id string) (*cri.ContainerStatus, error)
}

// ContainerStatus returns the status of a container.
func (s statusOnly) ContainerStatus(ctx context.Context, id string, _ bool) (*cri.ContainerStatusResponse, error) {
	status, err := s.status(ctx, id)
	if err != nil {
		return nil, err
	}
	return &cri.ContainerStatusResponse{Status: status}, nil
}
