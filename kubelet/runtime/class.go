package runtime

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

// Classes knows the RuntimeClasses of the cluster.
type Classes interface {
	// Handler returns by which handler the runtime is to run pods of the class.
	Handler(ctx context.Context, class string) (string, error)
}

// Users gives pods users of their own.
type Users interface {
	// Of returns the range of a pod, the same one each time.
	Of(uid types.UID) (pod.IDRange, error)
}

// handler returns the handler for p, "" for the runtime's default.
func (r *Runtime) handler(ctx context.Context, p *v1.Pod) (string, error) {
	class := ptr.Deref(p.Spec.RuntimeClassName, "")
	if class == "" {
		return "", nil
	}
	if r.o.Classes == nil {
		return "", fmt.Errorf("failed to lookup RuntimeClass %s: there is no API server", class)
	}
	return r.o.Classes.Handler(ctx, class)
}

// users returns the range of p, if it is to have users of its own. Errors are in
// the words of upstream.
func (r *Runtime) users(p *v1.Pod, handler string) (pod.IDRange, error) {
	if !spec.WantsUsers(p) {
		return pod.IDRange{}, nil
	}
	if r.o.Users != nil && r.o.Node().UserNamespaces[handler] {
		return r.o.Users.Of(p.UID)
	}
	if handler != "" {
		return pod.IDRange{}, fmt.Errorf("can't set `spec.hostUsers: false`, RuntimeClass handler %q does not support user namespaces", handler)
	}
	return pod.IDRange{}, errors.New("can't set `spec.hostUsers: false`, runtime does not support user namespaces")
}
