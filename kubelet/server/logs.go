package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	internalapi "k8s.io/cri-api/pkg/apis"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/logs"

	"boot.internal/kubelet/pod"
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
	started, err := s.copyLog(w, r)
	if err == nil || r.Context().Err() != nil {
		return
	}
	if started {
		_, _ = io.WriteString(w, err.Error()) // who asked may have gone
		return
	}
	code := http.StatusBadRequest
	if no, ok := errors.AsType[*refusal](err); ok {
		code = no.code
	}
	http.Error(w, err.Error(), code)
}

// copyLog reports whether it has begun to answer.
func (s *Server) copyLog(w http.ResponseWriter, r *http.Request) (started bool, err error) {
	o, err := logOptions(r.URL.Query(), time.Now())
	if err != nil {
		return false, err
	}
	log, err := s.findLog(r, o.previous)
	if err != nil {
		return false, err
	}
	var out, errOut io.Writer
	all := flushing{w, http.NewResponseController(w)}
	if out, errOut, err = s.streamsOf(o.stream, all); err != nil {
		return false, err
	}
	w.Header().Set("Content-Type", "text/plain")
	if _, err := all.Write(nil); err != nil { // who follows learns that it will go on
		return true, err
	}
	return true, logs.ReadLogs(r.Context(), log.path, log.id, &o.LogOptions, statusOnly{status: s.o.ContainerStatus}, out, errOut)
}

// splitStreams is the feature that lets one of the streams be asked for.
const splitStreams = "PodLogsQuerySplitStreams"

// streamsOf returns where the two streams go; nil is nowhere.
func (s *Server) streamsOf(name string, all io.Writer) (out, errOut io.Writer, err error) {
	if name == "" || name == v1.LogStreamAll {
		return all, all, nil
	}
	if !s.o.Config.FeatureGates[splitStreams] {
		return nil, nil, refuse(http.StatusBadRequest,
			"unable to return the given log stream: %q. Please enable %s feature gate in kubelet", name, splitStreams)
	}
	switch name {
	case v1.LogStreamStdout:
		return all, nil, nil
	case v1.LogStreamStderr:
		return nil, all, nil
	}
	return nil, nil, refuse(http.StatusBadRequest, "invalid stream type %q", name)
}

// A logRequest is what was asked for.
type logRequest struct {
	logs.LogOptions
	previous bool
	stream   string
}

// Answers to requests that make no sense, in upstream's words.
const (
	unreadable = `{"message": "Unable to decode query."}`
	senseless  = `{"message": "Invalid request."}`
)

// logOptions reads the fields of v1.PodLogOptions from a query.
func logOptions(q url.Values, now time.Time) (logRequest, error) {
	o := logRequest{stream: q.Get("stream")}
	if tail := q.Get("tail"); tail != "" && tail != "all" { // as old clients say
		q.Set("tailLines", tail)
	}
	var since *int64
	for name, to := range map[string]any{
		"follow": &o.Follow, "previous": &o.previous, "timestamps": &o.Timestamp,
		"tailLines": &o.TailLines, "limitBytes": &o.LimitBytes, "sinceSeconds": &since, "sinceTime": &o.Since,
	} {
		if text := q.Get(name); text != "" && parse(text, to) != nil {
			return o, refuse(http.StatusBadRequest, unreadable)
		}
	}
	atLeast := func(n *int64, least int64) bool { return n == nil || *n >= least }
	split := o.stream != "" && o.stream != v1.LogStreamAll
	switch {
	case !atLeast(o.TailLines, 0), !atLeast(o.LimitBytes, 1), !atLeast(since, 1),
		since != nil && !o.Since.IsZero(), split && o.TailLines != nil:
		return o, refuse(http.StatusUnprocessableEntity, senseless)
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
		n, err = strconv.ParseInt(text, 10, 64)
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
func (s *Server) findLog(r *http.Request, previous bool) (containerLog, error) {
	namespace, name, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	p, ok := s.pod(namespace, name)
	if !ok {
		return containerLog{}, refuse(http.StatusNotFound, "pod %q does not exist", name)
	}
	if _, ok := pod.Find(&p, container); !ok {
		return containerLog{}, refuse(http.StatusNotFound, "container %q not found in pod %q", container, name)
	}
	status, ok := statusOf(&p, container)
	if !ok {
		return containerLog{}, refuse(http.StatusBadRequest, "container %q in pod %q is not available", container, name)
	}
	id, why := logged(status, previous)
	if why != "" {
		return containerLog{}, refuse(http.StatusBadRequest, why, container, name)
	}
	path := s.logPath(r.Context(), &p, status, id)
	if _, err := os.Stat(path); err != nil {
		return containerLog{}, fmt.Errorf("unable to retrieve container logs for %s", id)
	}
	return containerLog{path, runtimeID(id)}, nil
}

// logged returns the ID of the instance whose log is asked for: the one that
// runs or that ended last, or the one before. Without one it says why, with a
// place for the names of container and pod.
func logged(s v1.ContainerStatus, previous bool) (id, why string) {
	last := ""
	if t := s.LastTerminationState.Terminated; t != nil {
		last = t.ContainerID
	}
	switch state := s.State; {
	case previous && last == "":
		return "", "previous terminated container %q in pod %q not found"
	case previous:
		return last, ""
	case state.Running != nil:
		return s.ContainerID, ""
	case state.Terminated != nil && state.Terminated.ContainerID != "":
		return state.Terminated.ContainerID, ""
	case last != "":
		return last, ""
	case state.Terminated != nil || s.LastTerminationState.Terminated != nil:
		return "", "container %q in pod %q is terminated"
	case state.Waiting == nil:
		return "", "container %q in pod %q is waiting to start - no logs yet"
	}
	return "", "container %q in pod %q is waiting to start: " + strings.ReplaceAll(waiting(s.State.Waiting.Reason), "%", "%%")
}

// waiting puts why a container does not run into the words people look for.
func waiting(reason string) string {
	switch reason {
	case "ErrImagePull":
		return "image can't be pulled"
	case "ImagePullBackOff":
		return "trying and failing to pull image"
	}
	return reason
}

// logPath returns where the log of an instance is: as the runtime says, or,
// where that has forgotten it, as its name says.
func (s *Server) logPath(ctx context.Context, p *v1.Pod, status v1.ContainerStatus, id string) string {
	if known, err := s.o.ContainerStatus(ctx, runtimeID(id)); err == nil && known.GetLogPath() != "" {
		return known.GetLogPath()
	}
	attempt := int(status.RestartCount)
	if id != status.ContainerID {
		attempt--
	}
	dir := fmt.Sprintf("%s_%s_%s", p.Namespace, p.Name, p.UID)
	return filepath.Join(s.o.PodLogsDir, dir, status.Name, strconv.Itoa(attempt)+".log")
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
