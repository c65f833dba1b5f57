// Package runtimeclass finds the handler by which the container runtime is to
// run the pods of a RuntimeClass. It decides how fresh a class must be; what the
// handler does is the runtime's, and what a class costs was added to the pod by
// the API server.
package runtimeclass

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	nodev1 "k8s.io/client-go/kubernetes/typed/node/v1"
)

// wait is how long a class is waited for at most.
const wait = 5 * time.Second

var errNoAPI = errors.New("no API server yet")

// Classes are those of the cluster. Nothing is watched: few pods have a class,
// and the handler of one never changes. Its methods may be called from several
// goroutines.
type Classes struct {
	mu       sync.Mutex // guards what follows
	client   nodev1.RuntimeClassesGetter
	handlers map[string]string // heard of last, by class
}

// New returns Classes of which none is known before Connect.
func New() *Classes { return &Classes{handlers: map[string]string{}} }

// Connect tells where classes are read.
func (c *Classes) Connect(client nodev1.RuntimeClassesGetter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client = client
}

// Handler returns the handler of a class; that of no class is "". What was
// heard last has to do while the API server is away. That there is no such
// class the error says to apierrors.
func (c *Classes) Handler(ctx context.Context, class string) (string, error) {
	if class == "" {
		return "", nil
	}
	handler, err := c.read(ctx, class)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.handlers[class] = handler
		return handler, nil
	case apierrors.IsNotFound(err):
		delete(c.handlers, class)
		return "", err
	}
	if handler, ok := c.handlers[class]; ok {
		return handler, nil
	}
	return "", fmt.Errorf("failed to lookup RuntimeClass %s: %w", class, err)
}

func (c *Classes) read(ctx context.Context, class string) (string, error) {
	c.mu.Lock()
	client := c.client
	c.mu.Unlock()
	if client == nil {
		return "", errNoAPI
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	o, err := client.RuntimeClasses().Get(ctx, class, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return o.Handler, nil
}
