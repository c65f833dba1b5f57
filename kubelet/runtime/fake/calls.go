package fake

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A Call is one call the runtime got: the method and what it was about.
type Call struct {
	Method string // "StopContainer"
	Target string // ID, or the name of what is to be made
	At     time.Time
}

// String returns "StopContainer container-3".
func (c Call) String() string { return c.Method + " " + c.Target }

// A fault is what happens to a call instead of, or before, being answered.
type fault struct {
	err   error
	delay time.Duration
}

// Fail makes the next n calls of a method fail with err.
func (c *CRI) Fail(method string, n int, err error) {
	c.fault(method, n, fault{err: err})
}

// Delay makes the next n calls of a method take d longer.
func (c *CRI) Delay(method string, n int, d time.Duration) {
	c.fault(method, n, fault{delay: d})
}

func (c *CRI) fault(method string, n int, f fault) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.faults[method] = append(c.s.faults[method], slices.Repeat([]fault{f}, n)...)
}

// Calls returns the calls there were, in order. Those that only look are left
// out: they change nothing, and how many there are is nobody's business.
func (c *CRI) Calls() []Call {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.s.calls), func(call Call) bool { return looks(call.Method) })
}

// Count returns how often a method was called.
func (c *CRI) Count(method string) int {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	n := 0
	for _, call := range c.s.calls {
		if call.Method == method {
			n++
		}
	}
	return n
}

// ForgetCalls begins the record of calls anew.
func (c *CRI) ForgetCalls() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.calls = nil
}

func looks(method string) bool {
	switch method {
	case "ListPodSandbox", "ListContainers", "ListImages", "PodSandboxStatus", "ContainerStatus", "ImageStatus",
		"Status", "Version", "RuntimeConfig", "GetContainerEvents":
		return true
	}
	return false
}

// begin records a call and does to it what the test ordered.
func (s *server) begin(ctx context.Context, method string, in proto.Message) error {
	s.mu.Lock()
	s.calls = append(s.calls, Call{Method: method, Target: targetOf(in), At: time.Now()})
	var f fault
	if waiting := s.faults[method]; len(waiting) > 0 {
		f, s.faults[method] = waiting[0], waiting[1:]
	}
	s.mu.Unlock()
	if f.delay > 0 {
		if err := wait(ctx, f.delay); err != nil {
			return err
		}
	}
	return f.err
}

// targetOf returns what a request is about.
func targetOf(in proto.Message) string {
	switch r := in.(type) {
	case *cri.RunPodSandboxRequest:
		m := r.GetConfig().GetMetadata()
		return fmt.Sprintf("%s/%s/%d", m.GetNamespace(), m.GetName(), m.GetAttempt())
	case *cri.CreateContainerRequest:
		m := r.GetConfig().GetMetadata()
		return fmt.Sprintf("%s/%d", m.GetName(), m.GetAttempt())
	case interface{ GetContainerId() string }:
		return r.GetContainerId()
	case interface{ GetPodSandboxId() string }:
		return r.GetPodSandboxId()
	case interface{ GetImage() *cri.ImageSpec }:
		return r.GetImage().GetImage()
	}
	return ""
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
