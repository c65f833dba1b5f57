// Package podsapi tells programs of the same host which pods the node has and how
// those are, by the gRPC API of KEP-4188: without an API server, and sooner than
// that would.
//
// It decides what a watcher is told and in which order. Which pods there are, and
// how each of them is, it asks for when it needs it.
package podsapi

import (
	"cmp"
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	api "k8s.io/kubelet/pkg/apis/pods/v1alpha1"

	"boot.internal/kubelet/news"
	"boot.internal/kubelet/socket"
)

// A Pod is one of the node, and how it is. Neither is ever changed: what is new is
// another Pod.
type Pod struct {
	*v1.Pod
	Is *v1.PodStatus // nil: nothing is known yet but what Pod says itself
}

// A Server answers. Its methods may be called from any goroutine.
type Server struct {
	api.UnimplementedPodsServer
	look     func() (pods []Pod, known bool)
	requests *requests
	news     news.News
}

// New returns a server of the pods that look returns: those the node is to run and
// those that still end. They are not known before all sources have had their say,
// and always after. look is called by several goroutines, and only when somebody
// asks or watches.
func New(look func() (pods []Pod, known bool)) *Server {
	return &Server{look: look, requests: newRequests()}
}

// Run answers at the path, which is /var/lib/kubelet/pods-api/pods-api.sock, until
// ctx ends.
func (s *Server) Run(ctx context.Context, path string) error {
	return socket.Serve(ctx, socket.Options{
		Path: path, Register: func(r grpc.ServiceRegistrar) { api.RegisterPodsServer(r, s) },
		Unary: s.requests.unary, Stream: s.requests.stream,
	})
}

// Changed says that there may be other pods, or that they may be otherwise. It
// never blocks, and costs next to nothing while nobody watches.
func (s *Server) Changed() { s.news.Tell() }

// ListPods returns all pods, by UID.
func (s *Server) ListPods(context.Context, *api.ListPodsRequest) (*api.ListPodsResponse, error) {
	pods, err := s.pods()
	if err != nil {
		return nil, err
	}
	out := &api.ListPodsResponse{Pods: make([][]byte, len(pods))}
	for i, p := range pods {
		if out.Pods[i], err = encode(p.whole()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// GetPod returns the pod of a UID.
func (s *Server) GetPod(_ context.Context, r *api.GetPodRequest) (*api.GetPodResponse, error) {
	pods, err := s.pods()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(pods, func(p Pod) bool { return string(p.UID) == r.PodUID })
	if i < 0 {
		return nil, status.Errorf(codes.NotFound, "pod with UID %s not found", r.PodUID)
	}
	text, err := encode(pods[i].whole())
	if err != nil {
		return nil, err
	}
	return &api.GetPodResponse{Pod: text}, nil
}

// pods returns all pods by UID, once they are known.
func (s *Server) pods() ([]Pod, error) {
	pods, known := s.look()
	if !known {
		return nil, status.Error(codes.FailedPrecondition, "Kubelet is initializing") // upstream's words
	}
	slices.SortFunc(pods, func(a, b Pod) int { return cmp.Compare(a.UID, b.UID) })
	return pods, nil
}

// whole returns the pod with how it is. One of which nothing is known is pending.
func (p Pod) whole() *v1.Pod {
	is := *p.Pod
	if p.Is != nil {
		is.Status = *p.Is
	}
	is.Status.Phase = cmp.Or(is.Status.Phase, v1.PodPending)
	return &is
}

// encode returns a pod as the API has it on the wire.
func encode(p *v1.Pod) ([]byte, error) {
	text, err := p.Marshal()
	if err != nil {
		return nil, status.Errorf(codes.Internal, "encode pod %s: %v", p.UID, err)
	}
	return text, nil
}
