package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1 "k8s.io/kubelet/config/v1"
	protocol "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

// runTimeout bounds a run of a plugin, retries of its own included.
const runTimeout = time.Minute

// maxOutput bounds what a plugin may say, and maxComplaint what is passed on of
// its complaints.
const (
	maxOutput    = 1 << 20
	maxComplaint = 1 << 10
)

// An execution runs the program of a plugin.
type execution struct {
	provider kubeletv1.CredentialProvider
	program  string
	ran      func(plugin string, took time.Duration, err error)
}

// run hands the request to the program on its standard input and reads the
// answer from its standard output. What the program said never becomes part of
// an error: there may be passwords in it. What it complained of does.
func (e *execution) run(ctx context.Context, r protocol.CredentialProviderRequest) (*protocol.CredentialProviderResponse, error) {
	r.TypeMeta = metav1.TypeMeta{APIVersion: e.provider.APIVersion, Kind: "CredentialProviderRequest"}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	began := time.Now()
	out, err := e.execute(ctx, data)
	if e.ran != nil {
		e.ran(e.provider.Name, time.Since(began), err)
	}
	if err != nil {
		return nil, err
	}
	return e.decode(out)
}

func (e *execution) execute(ctx context.Context, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, e.program, e.provider.Args...)
	c.Env = os.Environ()
	for _, v := range e.provider.Env {
		c.Env = append(c.Env, v.Name+"="+v.Value)
	}
	out, complaint := &bounded{left: maxOutput}, &bounded{left: maxComplaint}
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(request), out, complaint
	c.WaitDelay = time.Second // for a child that holds the pipes open
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("run %s: %w: %s", e.program, err, strings.TrimSpace(complaint.kept.String()))
	}
	return out.kept.Bytes(), nil
}

// decode reads an answer, strictly.
func (e *execution) decode(data []byte) (*protocol.CredentialProviderResponse, error) {
	var answer protocol.CredentialProviderResponse
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(&answer) != nil {
		return nil, errors.New("read the answer of the plugin: malformed")
	}
	if answer.APIVersion != e.provider.APIVersion || answer.Kind != "CredentialProviderResponse" {
		return nil, fmt.Errorf("read the answer of the plugin: %s %s is not %s CredentialProviderResponse",
			answer.APIVersion, answer.Kind, e.provider.APIVersion)
	}
	return &answer, nil
}

// A bounded buffer drops what is too much.
type bounded struct {
	kept bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	_, _ = b.kept.Write(p[:n]) // never fails
	return len(p), nil
}
