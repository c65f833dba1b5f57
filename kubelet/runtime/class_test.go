package runtime_test

import (
	"context"
	"errors"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/spec"
)

// classes has one class, "fast", which is run by "runc".
type classes struct{}

func (classes) Handler(_ context.Context, class string) (string, error) {
	if class == "fast" {
		return "runc", nil
	}
	return "", apierrors.NewNotFound(schema.GroupResource{Group: "node.k8s.io", Resource: "runtimeclasses"}, class)
}

type users struct{}

func (users) Of(types.UID) (pod.IDRange, error) {
	return pod.IDRange{First: 131072, Count: 65536}, nil
}

// makePod makes a sandbox and a container on a node whose handlers named can
// give pods users of their own.
func makePod(t *testing.T, p *v1.Pod, set func(*runtime.Options), handlers ...string) (*tap, error) {
	t.Helper()
	_, o, _ := newFake(t)
	requests := &tap{RuntimeServiceClient: o.CRI}
	o.CRI, o.Classes, o.Users = requests, classes{}, users{}
	node := o.Node()
	node.UserNamespaces = map[string]bool{}
	for _, h := range handlers {
		node.UserNamespaces[h] = true
	}
	o.Node = func() spec.Node { return node }
	if set != nil {
		set(&o)
	}
	r := runtime.New(o)
	if err := r.Do(t.Context(), p, pod.CreateSandbox{}); err != nil {
		return nil, err
	}
	have, err := r.Observe(t.Context(), pod.KeyOf(p))
	if err != nil {
		return nil, err
	}
	return requests, r.Do(t.Context(), p, pod.StartContainer{Name: "a", Sandbox: have.Sandboxes[0]})
}

func TestRuntimeClass(t *testing.T) {
	for class, want := range map[string]string{"": "", "fast": "runc"} {
		p := onePod()
		p.Spec.RuntimeClassName = &class
		made, err := makePod(t, p, func(o *runtime.Options) { o.SandboxSeccomp = "/lib/sandbox.json" })
		if err != nil {
			t.Fatal(err)
		}
		if got := made.sandboxes[0].RuntimeHandler; got != want {
			t.Errorf("handler of class %q: %q, want %q", class, got, want)
		}
		ours := made.sandboxes[0].Config.Linux.SecurityContext.Seccomp.LocalhostRef != ""
		if ours != (want == "") { // another handler may start something else
			t.Errorf("the profile for sandboxes with handler %q: %v", want, ours)
		}
	}
}

func TestNoRuntimeClass(t *testing.T) {
	p := onePod()
	p.Spec.RuntimeClassName = new("none")
	for _, c := range []struct {
		set  func(*runtime.Options)
		want string
	}{
		{nil, `runtimeclasses.node.k8s.io "none" not found`},
		{func(o *runtime.Options) { o.Classes = nil }, "failed to lookup RuntimeClass none: there is no API server"},
	} {
		_, err := makePod(t, p, c.set)
		var failed *pod.ActionError
		if !errors.As(err, &failed) || failed.Reason != "FailedCreatePodSandBox" || failed.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// TestUsers gives a pod users of its own, in sandbox, container and mounts.
func TestUsers(t *testing.T) {
	p := onePod()
	p.Spec.HostUsers, p.Spec.RuntimeClassName = new(false), new("fast")
	made, err := makePod(t, p, nil, "runc")
	if err != nil {
		t.Fatal(err)
	}
	container := made.containers[0]
	for where, o := range map[string]*cri.NamespaceOption{
		"sandbox":              made.sandboxes[0].Config.Linux.SecurityContext.NamespaceOptions,
		"sandbox of container": container.SandboxConfig.Linux.SecurityContext.NamespaceOptions,
		"container":            container.Config.Linux.SecurityContext.NamespaceOptions,
	} {
		if u := o.UsernsOptions; u.GetMode() != cri.NamespaceMode_POD || len(u.GetUids()) != 1 || u.Uids[0].HostId != 131072 {
			t.Errorf("%s: %v", where, u)
		}
	}
	for _, m := range container.Config.Mounts {
		if len(m.UidMappings) != 1 || len(m.GidMappings) != 1 {
			t.Errorf("mount at %s is not mapped", m.ContainerPath)
		}
	}
}

func TestNoUsers(t *testing.T) {
	for _, c := range []struct {
		class    string
		set      func(*runtime.Options)
		handlers []string
		want     string
	}{
		{"", nil, nil, "can't set `spec.hostUsers: false`, runtime does not support user namespaces"},
		{"fast", nil, []string{""}, "can't set `spec.hostUsers: false`, RuntimeClass handler \"runc\" does not support user namespaces"},
		{"", func(o *runtime.Options) { o.Users = nil }, []string{""}, "can't set `spec.hostUsers: false`, runtime does not support user namespaces"},
	} {
		p := onePod()
		p.Spec.HostUsers, p.Spec.RuntimeClassName = new(false), &c.class
		_, err := makePod(t, p, c.set, c.handlers...)
		if err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
