package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// Runtime is the container runtime as the one who knows what runs, and who runs
// commands.
type Runtime interface {
	// Running returns the pods that the runtime has, with name and image of
	// their containers and nothing else.
	Running(ctx context.Context) ([]v1.Pod, error)
	// Exec runs a command in a container and returns what it said, and its exit
	// code.
	Exec(ctx context.Context, id string, command []string, timeout time.Duration) (out []byte, code int, err error)
	// Checkpoint writes the state of a container to a file.
	Checkpoint(ctx context.Context, id, file string, timeout time.Duration) error
}

// runningPods answers with the pods that the runtime has, which need not be
// those that are wanted.
func (s *Server) runningPods(w http.ResponseWriter, r *http.Request) {
	all, err := s.o.Runtime.Running(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.answerPods(w, all)
}

// run answers with what a command says. Its words are in one parameter, with
// spaces between them.
func (s *Server) run(w http.ResponseWriter, r *http.Request) {
	out, err := s.output(r)
	if err != nil {
		answerError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json") // as upstream says, whatever it is
	_, _ = w.Write(out)                                // who asked may have gone
}

func (s *Server) output(r *http.Request) ([]byte, error) {
	p, err := s.streamed(r)
	if err != nil {
		return nil, err
	}
	id, err := running(r, p)
	if err != nil {
		return nil, err
	}
	command := r.FormValue("cmd")
	out, code, err := s.o.Runtime.Exec(r.Context(), id, strings.Split(command, " "), 0)
	if err == nil && code != 0 {
		err = fmt.Errorf("command '%s' exited with %d: %s", command, code, out)
	}
	return out, err
}

// checkpoint writes the state of a container to a file, and answers with its
// name.
func (s *Server) checkpoint(w http.ResponseWriter, r *http.Request) {
	file, err := s.writeCheckpoint(r)
	if err != nil {
		answerError(w, err)
		return
	}
	s.answer(w, map[string][]string{"items": {file}})
}

func (s *Server) writeCheckpoint(r *http.Request) (string, error) {
	namespace, name, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	p, ok := s.pod(namespace, name)
	if !ok {
		return "", refuse(http.StatusNotFound, "pod does not exist")
	}
	if _, ok := pod.Find(&p, container); !ok {
		return "", refuse(http.StatusNotFound, "container %s does not exist", container)
	}
	timeout := int64(0)
	if all := r.URL.Query()["timeout"]; len(all) > 0 {
		var err error
		if timeout, err = strconv.ParseInt(all[len(all)-1], 10, 64); err != nil {
			return "", refuse(http.StatusNotFound, "cannot parse value of timeout parameter")
		}
	}
	file, err := s.checkpointTo(r, &p, time.Duration(timeout)*time.Second)
	if err != nil {
		return "", fmt.Errorf("checkpointing of %s/%s/%s failed (%w)", namespace, name, container, err)
	}
	return file, nil
}

func (s *Server) checkpointTo(r *http.Request, p *v1.Pod, timeout time.Duration) (string, error) {
	container := r.PathValue("container")
	status, ok := statusOf(p, container)
	if !ok || status.State.Running == nil {
		return "", fmt.Errorf("container %s not found", container)
	}
	if err := os.MkdirAll(s.o.CheckpointDir, 0o700); err != nil {
		return "", err
	}
	name := fmt.Sprintf("checkpoint-%s_%s-%s-%s.tar", p.Name, p.Namespace, container, time.Now().Format(time.RFC3339))
	file := filepath.Join(s.o.CheckpointDir, name)
	return file, s.o.Runtime.Checkpoint(r.Context(), runtimeID(status.ContainerID), file, timeout)
}

// answerError answers with an error, and the code that it asks for.
func answerError(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	if no, ok := errors.AsType[*refusal](err); ok {
		code = no.code
	}
	http.Error(w, err.Error(), code)
}
